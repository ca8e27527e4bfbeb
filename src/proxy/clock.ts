/**
 * One coarse clock for all deadlines of a process, instead of a timer per connection: every half second each connection
 * is asked whether its time is up.
 */
import { performance } from 'node:perf_hooks';

export interface Swept {
  sweep(now: number): void;
}

export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** What `now()` said last, at most half a second ago: good enough for a deadline, and costs nothing. */
  readonly recent: number;
  add(swept: Swept): void;
  delete(swept: Swept): void;
  stop(): void;
}

const SWEEP_INTERVAL_MS = 500;

export function createClock(): Clock {
  const all = new Set<Swept>();
  let recent = performance.now();
  const timer = setInterval(() => {
    const now = (recent = performance.now());
    for (const swept of all) swept.sweep(now);
  }, SWEEP_INTERVAL_MS);
  timer.unref();
  return {
    now: () => (recent = performance.now()),
    get recent() {
      return recent;
    },
    add: (swept) => all.add(swept),
    delete: (swept) => all.delete(swept),
    stop: () => clearInterval(timer),
  };
}
