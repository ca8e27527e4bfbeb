/** When a process that ended is started again: a pure function of how it and those before it have fared. */
import { FAULTS } from './states.ts';
import type { Reason } from './states.ts';

export interface Patience {
  /** Pauses after ends in a row, in milliseconds; the last for all further ones. */
  readonly delaysMs: readonly number[];
  /** Ready for this long, its end is an accident: its place is filled at once. */
  readonly stableMs: number;
  /** So many starts in a row that came to nothing, and it is given up. */
  readonly starts: number;
  /** Or so many ends that are its own doing, within the window. */
  readonly ends: number;
  readonly windowMs: number;
  /** Given up, it is still tried so often: the cause may have been mended. */
  readonly retryMs: number;
}

/** 1 s doubling to 60 s, so that a broken release neither burns the machine nor is forgotten. */
export const WORKERS: Patience = {
  delaysMs: [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000],
  stableMs: 10_000,
  starts: 5,
  ends: 5,
  windowMs: 120_000,
  retryMs: 60_000,
};

/** Nobody may be without proxies because one request or another ends them: only starts that come to nothing count. */
export const PROXIES: Patience = {
  delaysMs: [100, 1_000, 5_000, 15_000, 60_000],
  stableMs: 3_000,
  starts: 5,
  ends: Infinity,
  windowMs: 120_000,
  retryMs: 60_000,
};

/** So often in a row it only gets another port. */
export const OTHER_PORTS = 3;
/** Share of a pause by which it is longer or shorter: what failed together must not come back together. */
const JITTER = 0.2;

export interface History {
  /** Ends in a row that were not after a stable run. */
  readonly failures: number;
  /** Starts in a row that never became ready. */
  readonly unready: number;
  /** Starts in a row whose port somebody else had. */
  readonly portsTaken: number;
  /** When it ended by its own doing, in milliseconds: those within the window. */
  readonly ends: readonly number[];
}

export const NO_HISTORY: History = { failures: 0, unready: 0, portsTaken: 0, ends: [] };

export interface Fate {
  /** How long it had been ready, in milliseconds; null: it never was. */
  readonly readyForMs: number | null;
  readonly reason: Reason;
  /** Milliseconds. */
  readonly now: number;
  /** At random, from 0 to 1. */
  readonly luck: number;
}

export interface Restart {
  readonly delayMs: number;
  readonly fatal: boolean;
  readonly history: History;
}

export function nextStart({ readyForMs, reason, now, luck }: Fate, before: History, patience = WORKERS): Restart {
  const spread = (ms: number): number => Math.round(ms * (1 - JITTER + 2 * JITTER * luck));
  if (reason === 'port_taken' && before.portsTaken < OTHER_PORTS) {
    return { delayMs: 0, fatal: false, history: { ...before, portsTaken: before.portsTaken + 1 } };
  }
  const { failures } = before;
  const unready = readyForMs === null ? before.unready + 1 : 0;
  const portsTaken = reason === 'port_taken' ? before.portsTaken + 1 : 0;
  const recent = before.ends.filter((at) => at > now - patience.windowMs);
  const ends = readyForMs === null || FAULTS.has(reason) ? [...recent, now] : recent;
  // Only somebody who installs or configures something can help against a command that cannot be run.
  if (reason === 'command' || unready >= patience.starts || ends.length >= patience.ends) {
    return {
      delayMs: spread(patience.retryMs),
      fatal: true,
      history: { failures: failures + 1, unready, portsTaken, ends },
    };
  }
  if (readyForMs !== null && readyForMs >= patience.stableMs) {
    return { delayMs: 0, fatal: false, history: { failures: 0, unready, portsTaken, ends } };
  }
  const delayMs = spread(patience.delaysMs[Math.min(failures, patience.delaysMs.length - 1)] ?? 0);
  // Somebody who kills worker after worker does not get a longer outage each time: it says nothing of the next one.
  const isInnocent = reason === 'killed' && readyForMs !== null;
  return {
    delayMs,
    fatal: false,
    history: { failures: isInnocent ? failures : failures + 1, unready, portsTaken, ends },
  };
}
