/**
 * Requests whose worker went away before its answer was whole: told to the control plane, which knows why it went. Their ids
 * are bounded, their number is not.
 */
import type { FromProxy, LostRequest } from '../snapshot.ts';
import { MAX_LOST } from '../snapshot.ts';

/** Those of one worker's end come at once, and what became of them soon after. */
const REPORT_MS = 100;

export interface LostRequests {
  /** The request may still be answered by another. */
  begin(target: string): void;
  /** What became of one that was begun. */
  settle(target: string, request: LostRequest): void;
}

interface Loss {
  open: number;
  count: number;
  requests: LostRequest[];
}

export function createLostRequests(send: (message: FromProxy) => void): LostRequests {
  const losses = new Map<string, Loss>();
  let scheduled = false;
  const report = (): void => {
    scheduled = false;
    for (const [target, loss] of losses) {
      const { open, count, requests } = loss;
      send({ type: 'requests_lost', target, open, count, requests });
      if (open === 0) losses.delete(target);
      loss.count = 0;
      loss.requests = [];
    }
  };
  const lossOf = (target: string): Loss => {
    let loss = losses.get(target);
    if (loss === undefined) losses.set(target, (loss = { open: 0, count: 0, requests: [] }));
    if (!scheduled) setTimeout(report, REPORT_MS).unref();
    scheduled = true;
    return loss;
  };
  return {
    begin: (target) => void lossOf(target).open++,
    settle: (target, request) => {
      const loss = lossOf(target);
      loss.open--;
      loss.count++;
      if (loss.requests.length < MAX_LOST) loss.requests.push(request);
    },
  };
}
