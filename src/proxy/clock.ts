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
/** At a stretch: when the time of thousands is up at once, others are served between them. */
const STRETCH_MS = 5;

export function createClock(): Clock {
  const all = new Set<Swept>();
  let recent = performance.now();
  let sweeping = false;
  const sweep = (now: number, rest: Iterator<Swept>): void => {
    const until = performance.now() + STRETCH_MS;
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      next.value.sweep(now);
      if (performance.now() >= until) return void setImmediate(sweep, now, rest);
    }
    sweeping = false;
  };
  const timer = setInterval(() => {
    recent = performance.now();
    if (sweeping) return;
    sweeping = true;
    sweep(recent, all.values());
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
