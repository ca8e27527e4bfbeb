/**
 * One coarse clock for all deadlines of a process, instead of a timer per connection: every half second each connection
 * is asked whether its time is up.
 */
export interface Swept {
  sweep(now: number): void;
}

export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  add(swept: Swept): void;
  delete(swept: Swept): void;
  stop(): void;
}

const SWEEP_INTERVAL_MS = 500;

export function createClock(): Clock {
  const all = new Set<Swept>();
  const timer = setInterval(() => {
    const now = performance.now();
    for (const swept of all) swept.sweep(now);
  }, SWEEP_INTERVAL_MS);
  timer.unref();
  return {
    now: () => performance.now(),
    add: (swept) => all.add(swept),
    delete: (swept) => all.delete(swept),
    stop: () => clearInterval(timer),
  };
}
