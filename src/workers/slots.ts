/** The places of a service's workers: which worker each has, and what is told of it. */
import type { Patience } from './backoff.ts';
import { createPlace } from './place.ts';
import type { Place, PlaceStatus } from './place.ts';
import type { GroupUsage } from './process_usage.ts';
import type { Reason, VacantState, WorkerState } from './states.ts';
import type { Worker } from './worker.ts';
import type { TargetStats } from '../snapshot.ts';

export interface WorkerStatus extends PlaceStatus {
  readonly id: string;
  readonly slot: number;
  readonly pid: number | null;
  readonly state: WorkerState | VacantState;
  /** Milliseconds since the epoch; 0: never. */
  readonly startedAt: number;
  readonly readyAt: number;
  /** What there is too little of for it to start; null: it does not wait for that. */
  readonly waitsFor: string | null;
  /** Of its process group; null: not known. */
  readonly usage: GroupUsage | null;
  /** Of what it and those before it wrote, lines the log did not get. */
  readonly lostLines: number;
}

export interface Slot {
  readonly index: number;
  worker: Worker | null;
  readonly place: Place;
  /** The memory there is too little of. */
  waitsFor: string | null;
  /** Of workers that have ended. */
  lostLines: number;
  /** False: it is not to be filled again. */
  wanted: boolean;
  /** Ends the wait for the next attempt. */
  wake: AbortController;
  /** What is to take its worker's place, until it has. */
  successor: Worker | null;
  /** A replacement of its worker, while it goes on. */
  replacing: Promise<unknown> | null;
  /** Settles when a process that is being started has become a worker, or not. */
  launching: Promise<unknown>;
}

export function createSlot(index: number, patience: Patience, onCount: (reason: Reason) => void): Slot {
  return {
    index,
    worker: null,
    place: createPlace(patience, onCount),
    waitsFor: null,
    lostLines: 0,
    wanted: true,
    wake: new AbortController(),
    successor: null,
    replacing: null,
    launching: Promise.resolve(),
  };
}

export function stateOf({ worker, place, waitsFor }: Slot): WorkerState | VacantState {
  return worker?.state ?? (waitsFor === null ? place.vacant : 'waiting');
}

/** Its worker, and the one that is to follow, as far as they are there. */
export function workersOf({ worker, successor }: Slot): readonly Worker[] {
  return [worker, successor].filter((one) => one !== null);
}

export function statusOf(
  slot: Slot,
  {
    service,
    stopped,
    usage,
  }: {
    readonly service: string;
    readonly stopped: boolean;
    readonly usage: ((group: number) => GroupUsage | null) | undefined;
  },
): WorkerStatus {
  const { index, worker, place } = slot;
  const past = place.status();
  return {
    ...past,
    id: worker?.id ?? `${service}/${index}`,
    slot: index,
    pid: worker?.pid ?? null,
    state: stopped && worker === null ? 'stopped' : stateOf(slot),
    startedAt: worker?.startedAt ?? 0,
    readyAt: worker?.readyAt ?? 0,
    nextStartAt: worker === null ? past.nextStartAt : null,
    waitsFor: worker === null ? slot.waitsFor : null,
    // Not for those who do not ask: it costs a look at all processes.
    get usage() {
      return worker === null ? null : (usage?.(worker.pid) ?? null);
    },
    lostLines: slot.lostLines + (worker === null || worker.ended.aborted ? 0 : worker.lostLines),
  };
}

/** Those with the fewest long-lived connections first, then the oldest. */
export function victims(
  slots: readonly Slot[],
  tooMany: number,
  stats: (targetId: string) => TargetStats | null = () => null,
): readonly Slot[] {
  if (tooMany <= 0) return [];
  const streams = ({ worker }: Slot): number => (worker === null ? -1 : (stats(worker.id)?.streams ?? 0));
  return slots
    .toSorted((a, b) => streams(a) - streams(b) || (a.worker?.startedAt ?? 0) - (b.worker?.startedAt ?? 0))
    .slice(0, tooMany);
}
