/**
 * The control plane's view of a service's workers: as many as wanted are running, or will be. Seen from outside, a worker
 * is a target that is there when it is ready and gone before it is asked to end.
 */
import os from 'node:os';
import { OTHER_PORTS, WORKERS } from './backoff.ts';
import type { Patience } from './backoff.ts';
import type { WorkerCgroups } from './cgroups.ts';
import type { WorkerIdentity } from './exec_chain.ts';
import { describeExit } from './exits.ts';
import { isHopeless } from './launch.ts';
import type { LaunchedService } from './launch.ts';
import { roomFor } from './memory_budget.ts';
import type { Room } from './memory_budget.ts';
import { oversee } from './overseer.ts';
import type { GroupUsage } from './process_usage.ts';
import type { WorkerRecords } from './records.ts';
import { createSlot, stateOf, statusOf, victims, workersOf } from './slots.ts';
import type { Slot, WorkerStatus } from './slots.ts';
import { serviceState } from './states.ts';
import type { Reason, ServiceState } from './states.ts';
import { createWorker } from './worker.ts';
import type { Worker } from './worker.ts';
import { persist } from '../defects.ts';
import { aborted, sleep, within } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';
import { readMemory } from '../machine.ts';
import type { MachineMemory } from '../machine.ts';
import { createSlots } from '../pace.ts';
import type { TargetEntry, TargetStats } from '../snapshot.ts';

/** Workers that start at once would all import the same at the same moment. */
const STARTS_AT_ONCE = Math.ceil(os.availableParallelism() / 2);
const START_JITTER_MS = 100;
/** A new worker must have been ready for so long before an old one goes for it. */
const MIN_READY_MS = 2_000;
/** A worker there is no memory for asks again. */
const MEMORY_RETRY_MS = 5_000;
/** Of a worker's last words, with the event of its end. */
const TOLD_LINES = 20;

/** What became of a service since its supervisor began; workers and slots come and go, this only grows. */
export interface Totals {
  readonly restarts: Readonly<Partial<Record<Reason, number>>>;
  readonly rolls: { readonly done: number; readonly failed: number };
}

/** How a worker's process ended, whoever wanted it to. */
export interface WorkerExit {
  readonly service: string;
  readonly worker: string;
  readonly pid: number;
  readonly exit: string;
  readonly reason: Reason;
  /** Its last lines. */
  readonly output: readonly string[];
}

export interface SupervisorOptions {
  readonly service: LaunchedService;
  readonly runtimeDirectory: string;
  /** Who its workers are; null: who we are. */
  readonly identityOf: (service: LaunchedService) => WorkerIdentity | null;
  readonly proxyGid: number | null;
  readonly guard: { add(group: number): void; remove(group: number): void };
  readonly records: WorkerRecords;
  /** None without. */
  readonly cgroups?: WorkerCgroups;
  readonly log: Logger;
  /** With workers that end; `WORKERS` without. */
  readonly patience?: Patience;
  /** The targets changed. */
  readonly onChange: () => void;
  readonly onExit?: (exit: WorkerExit) => void;
  /** Resolves when the target, which has left `targets()`, has no request any more. */
  readonly release: (targetId: string) => Promise<void>;
  /** What proxies tell of a target; null: nothing yet. */
  readonly stats?: (targetId: string) => TargetStats | null;
  /** Whether the kernel has killed this process, that has just ended, for want of memory. */
  readonly outOfMemory?: (pid: number) => boolean;
  /** What a process group holds and takes; null: not known. */
  readonly usage?: (group: number) => GroupUsage | null;
  /** Of the machine; without, as it tells. */
  readonly machineMemory?: () => MachineMemory | null;
}

export type RollResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly reason: string;
      /** The last lines of the worker that did not become ready. */
      readonly output: readonly string[];
    };

export interface Supervisor {
  /** Resolves with null when a worker is ready for the first time, else with why the first that was tried was not. */
  readonly begun: Promise<Failure | null>;
  targets(): readonly TargetEntry[];
  state(): ServiceState;
  snapshot(): readonly WorkerStatus[];
  totals(): Totals;
  /** A proxy could not connect: look at once. */
  reportFailure(targetId: string): void;
  /**
   * Replaces all workers, one after the other, by ones of `next`: each ready before an old one goes. The first that does
   * not become ready ends it, and the old ones stay or come back.
   */
  roll(next: LaunchedService, reason?: Reason): Promise<RollResult>;
  /** What is defined of it changes without another process. */
  adopt(next: LaunchedService): void;
  /** From now on so many; null: as configured. Resolves when the new ones were begun and those too many are gone. */
  scale(count: number | null): Promise<void>;
  /** Whoever waits for the next attempt tries now; what went wrong before is forgotten, as somebody has mended it. */
  retryNow(): void;
  /** Stops all: out of balancing, requests ended, TERM, KILL; within `graceMs` milliseconds. */
  stop(options: { readonly graceMs: number }): Promise<void>;
}

/** Ids name one process for the life of this one, also when a reload replaces the supervisor of a service. */
let generations = 0;

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { log, onChange } = options;
  let { service } = options;
  const stopping = new AbortController();
  const startPermit = createSlots(STARTS_AT_ONCE);
  /** The others wait until one has shown that it can be done. */
  const anyReady = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<Failure | null>();
  let slots: readonly Slot[] = [];
  let rolling = false;
  /** Processes that are being started and are no workers yet. */
  let launching = 0;
  /** Replacements of all kinds, one after the other: never two workers are missing for one reason or another. */
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work);
    turn = mine.catch(() => {});
    return mine;
  };

  const totals = { restarts: new Map<Reason, number>(), rolls: { done: 0, failed: 0 } };

  const newSlot = (index: number): Slot =>
    createSlot(index, options.patience ?? WORKERS, (reason) =>
      totals.restarts.set(reason, (totals.restarts.get(reason) ?? 0) + 1),
    );

  const launch = (slot: Slot): Promise<Worker> => {
    const generation = ++generations;
    launching++;
    const launched = createWorker({
      ...options,
      service,
      identity: options.identityOf(service),
      current: () => service,
      slot: slot.index,
      generation,
      id: `${service.name}/${slot.index}/g${generation}`,
      onState: (worker) => {
        if (worker.state === 'ready') {
          anyReady.resolve();
          begun.resolve(null);
        }
        onChange();
      },
    });
    slot.launching = launched
      .then((worker) => {
        void worker.exited.then((end) => {
          slot.lostLines += worker.lostLines;
          const { id, pid, reason, tail } = worker;
          const exit = end.doom ?? describeExit(end);
          options.onExit?.({
            service: service.name,
            worker: id,
            pid,
            exit,
            reason: reason ?? end.cause,
            output: tail(TOLD_LINES),
          });
        });
      })
      .catch(() => {})
      .finally(() => launching--);
    return launched;
  };

  /** One worker after the other, while the slot is wanted. */
  const keepFilled = async (slot: Slot): Promise<void> => {
    if (slot.index > 0) await Promise.race([anyReady.promise, aborted(stopping.signal)]);
    while (slot.wanted && !stopping.signal.aborted) {
      try {
        await startPermit(async () => {
          if (slot.index > 0) await sleep(Math.random() * START_JITTER_MS, stopping.signal);
          // A roll may have filled it meanwhile.
          if (slot.replacing !== null) await slot.replacing;
          if (!slot.wanted || stopping.signal.aborted || slot.worker !== null) return;
          if (!mayStart(slot)) return;
          const worker = await launch(slot);
          slot.worker = worker;
          slot.place.fill();
          onChange();
          await worker.started;
        });
      } catch (error) {
        const reason = isHopeless(error) ? 'command' : 'boot';
        await pause(slot, { worker: null, exit: describeError(error), readyForMs: null, reason });
        continue;
      }
      if (slot.worker === null && slot.waitsFor !== null) {
        slot.wake = new AbortController();
        await sleep(MEMORY_RETRY_MS, AbortSignal.any([stopping.signal, slot.wake.signal]));
      }
      await vacated(slot);
    }
  };

  const fill = (slot: Slot): void => void persist(() => keepFilled(slot), log, stopping.signal);

  /** For a worker more than there are. */
  const room = (): Room => {
    const running = slots.flatMap(workersOf);
    const holders = running.map((worker) => {
      return { ready: worker.state === 'ready', memory: options.usage?.(worker.pid)?.memory ?? null };
    });
    const unborn = Array.from({ length: launching }, () => ({ ready: false, memory: null }));
    return roomFor([...holders, ...unborn], (options.machineMemory ?? readMemory)());
  };

  const mayStart = (slot: Slot): boolean => {
    // What a replaced worker leaves is for its successor.
    if (slot.waitsFor !== null && slots.some(({ replacing }) => replacing !== null)) return false;
    const { more, sum } = room();
    if (more < 1 && slot.waitsFor === null) {
      log.warn('worker_waits_for_memory', { worker: `${service.name}/${slot.index}`, memory: sum });
    }
    slot.waitsFor = more < 1 ? sum : null;
    onChange();
    return more >= 1;
  };

  /** Resolves when the slot has no worker, and the time for the next has come. */
  const vacated = async (slot: Slot): Promise<void> => {
    for (let worker = slot.worker; worker !== null; worker = slot.worker) {
      const end = await worker.exited;
      await slot.replacing;
      // Another one is in its place.
      if (slot.worker !== worker) continue;
      slot.worker = null;
      if (worker.reason !== null && end.doom === null) {
        slot.place.replaced(worker.reason);
        onChange();
      } else {
        const exit = end.doom ?? describeExit(end);
        await pause(slot, { worker, exit, readyForMs: end.readyForMs, reason: worker.reason ?? end.cause });
      }
    }
  };

  const pause = async (slot: Slot, { worker, exit, readyForMs, reason }: Failed): Promise<void> => {
    const output = worker?.tail(TOLD_LINES) ?? [];
    begun.resolve({ reason: exit, output });
    if (stopping.signal.aborted || !slot.wanted) return;
    const { delayMs, fatal } = slot.place.ended({ readyForMs, reason }, exit);
    const fields = { worker: worker?.id ?? `${service.name}/${slot.index}`, pid: worker?.pid ?? null, exit, reason };
    log.warn('worker_exited', { ...fields, restart_in_ms: delayMs, given_up: fatal, output });
    onChange();
    slot.wake = new AbortController();
    await sleep(delayMs, AbortSignal.any([stopping.signal, slot.wake.signal]));
  };

  /**
   * Puts a new worker into the slot. Null, or why that did not work; then the old one is where it was, or, if there was
   * no memory for both, what is started in its place is of `before`.
   */
  const replace = async (
    slot: Slot,
    reason: Reason,
    before: LaunchedService | null = null,
  ): Promise<Failure | null> => {
    const done = Promise.withResolvers<void>();
    slot.replacing = done.promise;
    try {
      // One that is being started is the old one as soon as it is there.
      await slot.launching;
      const old = slot.worker;
      const { more, sum } = room();
      // One that waits for memory waits on, and will be of the new definition.
      if (old === null && more < 1) return null;
      if (old !== null && more < 1) {
        log.warn('worker_ends_before_its_successor', { worker: old.id, memory: sum });
        await old.retire(reason, grace());
        slot.worker = null;
      }
      const { next, problem } = await launchSuccessor(slot);
      if (problem !== null) {
        service = before ?? service;
        await next.retire('rolling', 0);
        return { reason: `the new worker did not become ready: ${problem}`, output: next.tail(TOLD_LINES) };
      }
      slot.place.replaced(reason);
      slot.place.forgive();
      slot.worker = next;
      onChange();
      // Streams may take longer than the next worker should wait.
      if (old !== null) await within(old.retire(reason, grace()), service.timeouts.streamsMs, null);
      return null;
    } catch (error) {
      service = before ?? service;
      return { reason: describeError(error), output: [] };
    } finally {
      slot.successor = null;
      slot.replacing = null;
      done.resolve();
      // One that waited for its next attempt has its worker by now, or waits on.
      if (slot.worker !== null) slot.wake.abort();
    }
  };

  /** Somebody may have its port: then it gets another, a few times. */
  const launchSuccessor = async (slot: Slot): Promise<{ next: Worker; problem: string | null }> => {
    for (let ports = 1; ; ports++) {
      const next = await launch(slot);
      slot.successor = next;
      const problem = (await next.started) ?? (await staysReady(next));
      const portTaken = next.ended.aborted && (await next.exited).cause === 'port_taken';
      if (!portTaken || ports > OTHER_PORTS || stopping.signal.aborted) return { next, problem };
    }
  };

  const staysReady = async (worker: Worker): Promise<string | null> => {
    await sleep(MIN_READY_MS, AbortSignal.any([worker.ended, stopping.signal]));
    if (stopping.signal.aborted) return 'the service is being stopped';
    return worker.state === 'ready' ? null : `it was ${worker.state} ${MIN_READY_MS} ms after it was ready`;
  };

  const grace = (): number => service.timeouts.drainMs + service.timeouts.stopMs;

  const roll = async (next: LaunchedService, reason: Reason): Promise<RollResult> => {
    const before = service;
    service = next;
    rolling = true;
    const replaced: Slot[] = [];
    try {
      for (const slot of slots) {
        if (stopping.signal.aborted) return { ok: false, reason: 'it is being stopped', output: [] };
        const failure = await replace(slot, reason, before);
        if (failure === null) {
          replaced.push(slot);
          continue;
        }
        log.error('roll_failed', { worker: `${next.name}/${slot.index}`, ...failure });
        // Those that were replaced go back to what worked.
        for (const back of replaced) await replace(back, reason);
        return { ok: false, ...failure };
      }
      return { ok: true };
    } finally {
      rolling = false;
      onChange();
    }
  };

  /** Returns the slots that are too many; new ones begin to be filled. */
  const resize = (wanted: number): readonly Slot[] => {
    const taken = new Set(slots.map(({ index }) => index));
    const begun: Slot[] = [];
    for (let index = 0; slots.length + begun.length < wanted; index++) {
      if (!taken.has(index)) begun.push(newSlot(index));
    }
    const leaving = victims(slots, slots.length - wanted, options.stats);
    slots = [...slots.filter((slot) => !leaving.includes(slot)), ...begun];
    for (const slot of begun) fill(slot);
    for (const slot of leaving) slot.wanted = false;
    onChange();
    return leaving;
  };

  /** As configured, and near what there are where that is free. */
  const configuredCount = (): number => {
    const { workers, sizing } = service;
    return sizing.type === 'load' ? Math.min(sizing.max, Math.max(sizing.min, slots.length)) : workers;
  };

  const scale = async (wanted: number | null): Promise<void> => {
    // Those that drain hold nobody up: more may be wanted meanwhile.
    const leaving = await inTurn(() => Promise.resolve(resize(wanted ?? configuredCount())));
    await Promise.all(
      leaving.map(async (slot) => {
        slot.wake.abort();
        await slot.replacing;
        await slot.launching;
        await slot.worker?.retire('scale', grace());
      }),
    );
  };

  slots = Array.from({ length: service.workers }, (_, index) => newSlot(index));
  for (const slot of slots) fill(slot);
  oversee({
    workers: () => slots.flatMap(({ worker }) => worker ?? []),
    service: () => service,
    stats: options.stats ?? (() => null),
    usage: options.usage ?? (() => null),
    replace: (worker, reason) =>
      inTurn(async () => {
        const slot = slots.find((one) => one.worker === worker);
        if (slot === undefined || worker.ended.aborted || stopping.signal.aborted) return;
        const failure = await replace(slot, reason);
        if (failure !== null) log.error('replacement_failed', { worker: worker.id, ...failure });
      }),
    log,
    signal: stopping.signal,
  });

  return {
    begun: begun.promise,
    targets: () =>
      slots.flatMap(({ index, worker }) => {
        if (worker?.state !== 'ready' || service.healthCheck.type === 'process') return [];
        const { id, address } = worker;
        return [{ id, place: `${index}`, protocol: 'http', address, serverName: '', weight: 1, healthy: true }];
      }),
    state: () => {
      // `auto` is as many as there is room for.
      const absent = service.sizing.type === 'auto' ? slots.filter(({ waitsFor }) => waitsFor !== null).length : 0;
      const stopped = stopping.signal.aborted;
      return serviceState(slots.map(stateOf), slots.length - absent, { rolling, stopped });
    },
    snapshot: () => {
      const stopped = stopping.signal.aborted;
      return slots.map((slot) => statusOf(slot, { service: service.name, stopped, usage: options.usage }));
    },
    reportFailure: (targetId) => {
      for (const { worker } of slots) if (worker?.id === targetId) worker.lookNow();
    },
    adopt: (next) => void (service = next),
    totals: () => ({ restarts: Object.fromEntries(totals.restarts), rolls: { ...totals.rolls } }),
    roll: (next, reason = 'rolling') =>
      inTurn(async () => {
        const result = await roll(next, reason);
        totals.rolls[result.ok ? 'done' : 'failed']++;
        return result;
      }),
    scale,
    retryNow: () => {
      for (const slot of slots) {
        slot.place.forgive();
        slot.wake.abort();
      }
    },
    stop: async ({ graceMs }) => {
      stopping.abort();
      begun.resolve({ reason: 'it is being stopped', output: [] });
      await Promise.all(slots.map(({ launching }) => launching));
      const running = slots.flatMap(workersOf);
      await Promise.all(running.map((worker) => worker.retire('stop', graceMs)));
    },
  };
}

/** What is known of a worker that ended by itself, or could not be started. */
interface Failed {
  readonly worker: Worker | null;
  readonly exit: string;
  readonly readyForMs: number | null;
  readonly reason: Reason;
}

export interface Failure {
  readonly reason: string;
  readonly output: readonly string[];
}
