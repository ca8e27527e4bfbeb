/** Requests sent when they are due, whether or not those before were answered: a stall is seen by all it delays. */
import { sleep } from '../../src/lifecycle.ts';
import type { AccountedClient, Answered } from './load.ts';

export interface PacedLoad {
  /** Those answered so far, in the order of their answers. */
  readonly answers: readonly Answered[];
  /** Sent so far. */
  readonly sent: number;
  /** Resolves when all that were sent have an end. */
  stop(): Promise<void>;
}

export function paceLoad(client: AccountedClient, perSecond: number, pathOf: () => string = () => '/'): PacedLoad {
  const over = new AbortController();
  const answers: Answered[] = [];
  const pending: Promise<unknown>[] = [];
  const started = performance.now();
  const sending = (async () => {
    for (let sent = 0; !over.signal.aborted;) {
      const early = started + (sent / perSecond) * 1_000 - performance.now();
      if (early > 0) await sleep(early, over.signal);
      else
        pending.push(client.send(sent++ % 2 === 0 ? 'GET' : 'POST', pathOf()).then((answer) => answers.push(answer)));
    }
  })();
  return {
    answers,
    get sent() {
      return pending.length;
    },
    stop: async () => {
      over.abort();
      await sending;
      await Promise.all(pending);
    },
  };
}
