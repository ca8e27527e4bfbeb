/**
 * Why requests were lost: what the proxies tell of them, which know the requests, and how their worker ended, which we know,
 * in one event for each end.
 */
import type { Logger } from '../log.ts';
import { MAX_LOST } from '../snapshot.ts';
import type { LostRequest } from '../snapshot.ts';
import type { WorkerExit } from '../workers/supervisor.ts';

export interface LostReport {
  readonly target: string;
  /** Of this proxy's, those that may still be answered. */
  readonly open: number;
  /** Settled since its last report; of as many as may be, `requests`. */
  readonly count: number;
  readonly requests: readonly LostRequest[];
}

export interface LostRequestsOptions {
  readonly log: Logger;
  /** What proxies have to tell of an end is here so soon after it. */
  readonly graceMs?: number;
  /** So long what becomes of them is waited for, in all. */
  readonly settleMs?: number;
}

export interface LostRequestsLog {
  report(proxy: number, report: LostReport): void;
  /** What it had open is not told any more. */
  proxyGone(proxy: number): void;
  exited(exit: WorkerExit): void;
}

interface Loss {
  exit: WorkerExit | null;
  /** What is known is told as soon as nothing is open. */
  complete: boolean;
  /** By proxy. */
  readonly open: Map<number, number>;
  count: number;
  readonly requests: LostRequest[];
  timer: NodeJS.Timeout | null;
}

export function createLostRequestsLog(options: LostRequestsOptions): LostRequestsLog {
  const { log, graceMs = 500, settleMs = 15_000 } = options;
  /** By worker. */
  const losses = new Map<string, Loss>();

  const openOf = ({ open }: Loss): number => [...open.values()].reduce((sum, one) => sum + one, 0);

  const after = (loss: Loss, ms: number, then: () => void): void => {
    if (loss.timer !== null) clearTimeout(loss.timer);
    loss.timer = setTimeout(then, ms).unref();
  };

  const tell = (worker: string, loss: Loss): void => {
    if (loss.timer !== null) clearTimeout(loss.timer);
    losses.delete(worker);
    const { exit, requests } = loss;
    const open = openOf(loss);
    const count = loss.count + open;
    if (exit === null || count === 0) return;
    log.warn('requests_lost', { ...exit, count, ...(open === 0 ? {} : { unsettled: open }), requests });
  };

  const check = (worker: string, loss: Loss): void => {
    if (loss.exit !== null && loss.complete && openOf(loss) === 0) tell(worker, loss);
  };

  const lossOf = (worker: string): Loss => {
    let loss = losses.get(worker);
    if (loss === undefined) {
      loss = { exit: null, complete: false, open: new Map(), count: 0, requests: [], timer: null };
      losses.set(worker, loss);
    }
    return loss;
  };

  return {
    report: (proxy, { target, open, count, requests }) => {
      const loss = lossOf(target);
      loss.open.set(proxy, open);
      loss.count += count;
      loss.requests.push(...requests.slice(0, MAX_LOST - loss.requests.length));
      // Whoever only closed its connections and lives on has no end to tell of.
      if (loss.exit === null) after(loss, settleMs, () => losses.delete(target));
      check(target, loss);
    },
    proxyGone: (proxy) => {
      for (const [worker, loss] of losses) {
        loss.open.delete(proxy);
        check(worker, loss);
      }
    },
    exited: (exit) => {
      const { worker } = exit;
      const loss = lossOf(worker);
      loss.exit = exit;
      after(loss, graceMs, () => {
        loss.complete = true;
        after(loss, settleMs, () => tell(worker, loss));
        check(worker, loss);
      });
    },
  };
}
