/** A place for a process, which one after the other has: how they fared, and when the next is due. */
import { nextStart, NO_HISTORY } from './backoff.ts';
import type { Fate, Patience, Restart } from './backoff.ts';
import type { Reason, VacantState } from './states.ts';

export interface PlaceStatus {
  readonly restarts: number;
  readonly restartsByReason: Readonly<Partial<Record<Reason, number>>>;
  /** How the one before ended by itself, and why. */
  readonly lastExit: string | null;
  readonly lastExitReason: Reason | null;
  /** When the next attempt is made, in milliseconds since the epoch; null: none is waited for. */
  readonly nextStartAt: number | null;
}

export interface Place {
  /** What it is while nobody is in it. */
  readonly vacant: VacantState;
  status(): PlaceStatus;
  /** Somebody is in it. */
  fill(): void;
  /** Whoever was in it has gone because we wanted it to. */
  replaced(reason: Reason): void;
  /** Whoever was in it has ended: when the next is due. */
  ended(fate: Pick<Fate, 'readyForMs' | 'reason'>, exit: string): Restart;
  /** What went wrong is mended: it counts no more. */
  forgive(): void;
}

/** `onCount` hears of each that another one follows. */
export function createPlace(patience: Patience, onCount: (reason: Reason) => void = () => {}): Place {
  const restarts = new Map<Reason, number>();
  let vacant: VacantState = 'waiting';
  let history = NO_HISTORY;
  let last: { readonly exit: string; readonly reason: Reason } | null = null;
  let nextStartAt: number | null = null;
  const count = (reason: Reason): void => {
    restarts.set(reason, (restarts.get(reason) ?? 0) + 1);
    onCount(reason);
  };
  return {
    get vacant() {
      return vacant;
    },
    status: () => ({
      restarts: [...restarts.values()].reduce((sum, one) => sum + one, 0),
      restartsByReason: Object.fromEntries(restarts),
      lastExit: last?.exit ?? null,
      lastExitReason: last?.reason ?? null,
      nextStartAt,
    }),
    fill: () => void (nextStartAt = null),
    replaced: count,
    ended: ({ readyForMs, reason }, exit) => {
      const now = Date.now();
      const restart = nextStart({ readyForMs, reason, now, luck: Math.random() }, history, patience);
      ({ history } = restart);
      last = { exit, reason };
      vacant = restart.fatal ? 'fatal' : 'backoff';
      nextStartAt = now + restart.delayMs;
      count(reason);
      return restart;
    },
    forgive: () => void (history = NO_HISTORY),
  };
}
