/** When a proxy that ended is started again: a pure function of how it has fared. */

const DELAYS_MS = [100, 1_000, 5_000, 15_000, 60_000];
/** Ready for this long, its end is an accident, not a loop: its place is filled at once, however many there were. */
const STABLE_MS = 3_000;

export interface ProxyFate {
  /** How long it had been ready, in milliseconds; null: it never was. */
  readonly readyForMs: number | null;
  /** Ends in a row before this one that were no accidents. */
  readonly failures: number;
}

export function nextProxyStart({ readyForMs, failures }: ProxyFate): {
  readonly delayMs: number;
  readonly failures: number;
} {
  if (readyForMs !== null && readyForMs >= STABLE_MS) return { delayMs: 0, failures: 0 };
  const delayMs = DELAYS_MS[Math.min(failures, DELAYS_MS.length - 1)] ?? 0;
  return { delayMs, failures: failures + 1 };
}
