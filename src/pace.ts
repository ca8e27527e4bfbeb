/** Doing many things without doing too many at once, or too many in a short time. */
import { sleep } from './lifecycle.ts';

export type Slots = <T>(work: () => Promise<T>) => Promise<T>;

/** Runs at most `count` at once; the others wait in turn, and nobody who comes later overtakes. */
export function createSlots(count: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free++;
      else next();
    }
  };
}

/** Resolves so that no more than `count` do within any `withinMs`, and at once when `signal` aborts. */
export function createPace(count: number, withinMs: number): (signal: AbortSignal) => Promise<void> {
  /** When the last `count` were let through. */
  const times: number[] = [];
  let turn: Promise<void> = Promise.resolve();
  const pass = async (signal: AbortSignal): Promise<void> => {
    const oldest = times.length < count ? -Infinity : (times.shift() ?? -Infinity);
    // A timer may fire a little early.
    for (let left; (left = oldest + withinMs - performance.now()) > 0 && !signal.aborted;) await sleep(left, signal);
    times.push(performance.now());
  };
  return (signal) => (turn = turn.then(() => pass(signal)));
}

/** `run`, so that calls during a run share the one that begins after it. Each resolves when what it wanted has been done. */
export function coalesce(run: () => Promise<void>): () => Promise<void> {
  let current: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  const begin = (): Promise<void> => {
    const mine = run().finally(() => {
      if (current === mine) current = null;
    });
    current = mine;
    return mine;
  };
  return () => {
    if (current === null) return begin();
    next ??= current
      .catch(() => {})
      .then(() => {
        next = null;
        return begin();
      });
    return next;
  };
}
