/** When a worker that ended is started again: a pure function of how it has fared. */

/** 1 s doubling to 60 s, so that a broken release neither burns the machine nor is forgotten. */
const DELAYS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000];
/** Ready for this long, a worker's end is an accident: its place is filled at once. */
const STABLE_MS = 10_000;

export interface Fate {
  /** How long it had been ready, in milliseconds; null: it never was. */
  readonly readyForMs: number | null;
  /** Ends in a row before this one that were not after a stable run. */
  readonly failures: number;
}

export interface Restart {
  readonly delayMs: number;
  readonly failures: number;
}

export function nextStart({ readyForMs, failures }: Fate): Restart {
  if (readyForMs !== null && readyForMs >= STABLE_MS) return { delayMs: 0, failures: 0 };
  const delayMs = DELAYS_MS[Math.min(failures, DELAYS_MS.length - 1)] ?? 0;
  return { delayMs, failures: failures + 1 };
}
