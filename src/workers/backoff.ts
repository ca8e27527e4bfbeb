/** When a worker that ended is started again: a pure function of how it has fared. */

/** 1 s doubling to 60 s, so that a broken release neither burns the machine nor is forgotten. */
const DELAYS_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000];
/** Ready for this long, a worker's end is an accident: its place is filled at once. */
const STABLE_MS = 10_000;
/** So many starts in a row that came to nothing, or so many ends of its own within the window, and it is given up. */
const GIVE_UP_AFTER = 5;
const WINDOW_MS = 120_000;
/** Given up, it is still tried so often: the cause may have been mended. */
export const FATAL_RETRY_MS = 60_000;

export interface History {
  /** Ends in a row that were not after a stable run. */
  readonly failures: number;
  /** Starts in a row that never became ready. */
  readonly unready: number;
  /** When it ended by itself, in milliseconds: those within the window. */
  readonly ends: readonly number[];
}

export const NO_HISTORY: History = { failures: 0, unready: 0, ends: [] };

export interface Fate {
  /** How long it had been ready, in milliseconds; null: it never was. */
  readonly readyForMs: number | null;
  /** It could not be started, and could not be by trying again soon. */
  readonly hopeless: boolean;
  /** Somebody else's signal ended it: no fault of its own. */
  readonly killed: boolean;
  /** Milliseconds. */
  readonly now: number;
}

export interface Restart {
  readonly delayMs: number;
  readonly fatal: boolean;
  readonly history: History;
}

export function nextStart({ readyForMs, hopeless, killed, now }: Fate, before: History): Restart {
  const unready = readyForMs === null ? before.unready + 1 : 0;
  const recent = before.ends.filter((at) => at > now - WINDOW_MS);
  const ends = readyForMs === null || !killed ? [...recent, now] : recent;
  if (hopeless || unready >= GIVE_UP_AFTER || ends.length >= GIVE_UP_AFTER) {
    return { delayMs: FATAL_RETRY_MS, fatal: true, history: { failures: before.failures + 1, unready, ends } };
  }
  if (readyForMs !== null && readyForMs >= STABLE_MS) {
    return { delayMs: 0, fatal: false, history: { failures: 0, unready, ends } };
  }
  const delayMs = DELAYS_MS[Math.min(before.failures, DELAYS_MS.length - 1)] ?? 0;
  return { delayMs, fatal: false, history: { failures: before.failures + 1, unready, ends } };
}
