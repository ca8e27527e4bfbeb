/**
 * The control plane's view of a service's workers: as many as wanted are running, or will be. Seen from outside, a worker
 * is a target that is there when it is ready and gone before it is asked to end.
 */
import { rmSync } from 'node:fs';
import { nextStart } from './backoff.ts';
import { afterProbe, HEALTHY, UNHEALTHY } from './health.ts';
import type { Health } from './health.ts';
import { launchWorker } from './launch.ts';
import type { LaunchedService, WorkerProcess } from './launch.ts';
import { readLines } from './lines.ts';
import { plainTarget, probe } from './probe.ts';
import type { WorkerRecords } from './records.ts';
import { sleep, within } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';
import type { Address, Identity, TargetEntry } from '../snapshot.ts';

/** While a worker starts, it is asked this often whether it is ready: at first, and at most. */
const START_PROBE_MS = [20, 50, 100, 200, 500];
/** An unhealthy worker is asked at least this often whether it has recovered. */
const RECOVERY_PROBE_MS = 1_000;
/** A process group that was KILLed is gone after this long, or the kernel holds it. */
const KILLED_MS = 5_000;

export type WorkerState = 'starting' | 'ready' | 'unhealthy' | 'stopping' | 'backoff' | 'stopped';

export interface WorkerStatus {
  readonly id: string;
  readonly slot: number;
  readonly pid: number | null;
  readonly state: WorkerState;
  /** Milliseconds since the epoch; 0: never. */
  readonly startedAt: number;
  readonly readyAt: number;
  readonly restarts: number;
  /** How the worker before this one ended. */
  readonly lastExit: string | null;
}

export interface SupervisorOptions {
  readonly service: LaunchedService;
  readonly runtimeDirectory: string;
  readonly identity: Identity | null;
  readonly proxyGid: number | null;
  readonly guard: { add(group: number): void; remove(group: number): void };
  readonly records: WorkerRecords;
  readonly log: Logger;
  /** The targets changed. */
  readonly onChange: () => void;
  /** Resolves when the target, which has left `targets()`, has no request any more. */
  readonly release: (targetId: string) => Promise<void>;
}

export interface Supervisor {
  targets(): readonly TargetEntry[];
  snapshot(): readonly WorkerStatus[];
  /** A proxy could not connect: look at once. */
  reportFailure(targetId: string): void;
  /** Stops all: out of balancing, requests ended, TERM, KILL; within `graceMs` milliseconds. */
  stop(options: { readonly graceMs: number }): Promise<void>;
}

interface Worker {
  readonly id: string;
  readonly slot: Slot;
  readonly child: WorkerProcess;
  readonly pid: number;
  readonly address: Address;
  readonly startedAt: number;
  readonly exited: Promise<void>;
  /** Aborts when the process has ended. */
  readonly ended: AbortSignal;
  state: WorkerState;
  readyAt: number;
  health: Health;
  /** Why it is being ended before it was ready. */
  doom: string | null;
  lookNow: AbortController;
}

interface Slot {
  readonly index: number;
  worker: Worker | null;
  /** Settles when a process that is being started has become `worker`, or not. */
  starting: Promise<unknown>;
  restarts: number;
  failures: number;
  lastExit: string | null;
}

/** Ids name one process for the life of this one, also when a reload replaces the supervisor of a service. */
let generations = 0;

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { service, log, onChange } = options;
  const { healthCheck, timeouts } = service;
  const stopping = new AbortController();
  const slots: readonly Slot[] = Array.from({ length: service.workers.min }, (_, index) => ({
    index,
    worker: null,
    starting: Promise.resolve(),
    restarts: 0,
    failures: 0,
    lastExit: null,
  }));

  const setState = (worker: Worker, state: WorkerState): void => {
    if (worker.state === state || worker.state === 'stopped') return;
    worker.state = state;
    onChange();
  };

  const start = async (slot: Slot): Promise<Worker> => {
    const generation = ++generations;
    const id = `${service.name}/${slot.index}/g${generation}`;
    const { child, pid, address } = await launchWorker({ ...options, slot: slot.index, generation });
    options.guard.add(pid);
    options.records.add(pid);
    const ended = new AbortController();
    const worker: Worker = {
      id,
      slot,
      child,
      pid,
      address,
      startedAt: Date.now(),
      ended: ended.signal,
      exited: new Promise((resolve) => {
        child.once('exit', (code, signal) => {
          ended.abort();
          finish(worker, code, signal);
          resolve();
        });
      }),
      state: 'starting',
      readyAt: 0,
      health: HEALTHY,
      doom: null,
      lookNow: new AbortController(),
    };
    slot.worker = worker;
    for (const stream of ['stdout', 'stderr'] as const) {
      readLines(child[stream], (line) => log.info('worker_output', { worker: id, stream, line }));
    }
    log.debug('worker_started', { worker: id, pid });
    return worker;
  };

  /** What follows from the end of a process, whoever ended it. */
  const finish = (worker: Worker, code: number | null, signal: string | null): void => {
    const { slot, pid, id } = worker;
    const expected = worker.state === 'stopping';
    setState(worker, 'stopped');
    // What the worker started ends with it: it would hold the worker's port, and nobody watches it.
    killGroup(pid, 'SIGKILL');
    options.guard.remove(pid);
    options.records.remove(pid);
    if ('path' in worker.address) rmSync(worker.address.path, { force: true });
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    if (expected) {
      log.info('worker_stopped', { worker: id, pid, exit: how });
      return;
    }
    const exit = worker.doom ?? how;
    const readyForMs = worker.readyAt === 0 ? null : Date.now() - worker.readyAt;
    startLater(slot, exit, readyForMs, { worker: id, pid });
  };

  const startLater = (
    slot: Slot,
    exit: string,
    readyForMs: number | null,
    fields: Readonly<Record<string, unknown>>,
  ): void => {
    const { delayMs, failures } = nextStart({ readyForMs, failures: slot.failures });
    slot.failures = failures;
    slot.lastExit = exit;
    slot.worker = null;
    if (stopping.signal.aborted) return;
    slot.restarts++;
    log.warn('worker_exited', { ...fields, exit, restart_in_ms: delayMs });
    onChange();
    void sleep(delayMs, stopping.signal).then(() => fill(slot));
  };

  /** Puts a worker into the slot and stays with it while it lives. */
  const fill = async (slot: Slot): Promise<void> => {
    if (stopping.signal.aborted) return;
    let worker: Worker;
    try {
      const started = start(slot);
      slot.starting = started.catch(() => {});
      worker = await started;
    } catch (error) {
      startLater(slot, describeError(error), null, { worker: `${service.name}/${slot.index}` });
      return;
    }
    const problem = await becomesReady(worker);
    if (worker.ended.aborted || stopping.signal.aborted) return;
    if (problem !== null) {
      worker.doom = problem;
      await terminate(worker, timeouts.stopMs);
      return;
    }
    worker.readyAt = Date.now();
    log.info('worker_ready', { worker: worker.id, pid: worker.pid, after_ms: worker.readyAt - worker.startedAt });
    setState(worker, 'ready');
    await watch(worker);
  };

  /** Null when it answers, else what its last probe said when its time was up. */
  const becomesReady = async (worker: Worker): Promise<string | null> => {
    const deadline = Date.now() + timeouts.startMs;
    for (let attempt = 0; ; attempt++) {
      await sleep(START_PROBE_MS[Math.min(attempt, START_PROBE_MS.length - 1)] ?? 0, worker.ended);
      if (worker.ended.aborted) return null;
      const timeoutMs = Math.min(healthCheck.timeoutMs, Math.max(1, deadline - Date.now()));
      const result = await probe(plainTarget(worker.address), {
        path: healthCheck.path,
        timeoutMs,
        signal: worker.ended,
      });
      if (result.ok) return null;
      if (Date.now() >= deadline) return `not ready after ${timeouts.startMs} ms: ${result.reason}`;
    }
  };

  /** Active health checks, until the worker ends or is ended. */
  const watch = async (worker: Worker): Promise<void> => {
    const { intervalMs, timeoutMs, path } = healthCheck;
    while (worker.state === 'ready' || worker.state === 'unhealthy') {
      const pauseMs = worker.health.healthy ? intervalMs : Math.min(intervalMs, RECOVERY_PROBE_MS);
      await sleep(pauseMs, AbortSignal.any([worker.ended, worker.lookNow.signal]));
      const reported = worker.lookNow.signal.aborted;
      if (reported) worker.lookNow = new AbortController();
      if (worker.ended.aborted) return;
      const result = await probe(plainTarget(worker.address), { path, timeoutMs, signal: worker.ended });
      if (worker.ended.aborted || (worker.state !== 'ready' && worker.state !== 'unhealthy')) return;
      // A client's request has already failed there: no need to be told three times.
      const next = reported && !result.ok ? UNHEALTHY : afterProbe(worker.health, result.ok, healthCheck);
      if (next.healthy !== worker.health.healthy) {
        if (result.ok) log.info('worker_healthy', { worker: worker.id });
        else log.warn('worker_unhealthy', { worker: worker.id, reason: result.reason });
      }
      worker.health = next;
      setState(worker, next.healthy ? 'ready' : 'unhealthy');
    }
  };

  /** TERM to the worker, which tells its own children; KILL to all that is left of its group. */
  const terminate = async (worker: Worker, stopMs: number): Promise<void> => {
    if (worker.ended.aborted) return;
    worker.child.kill('SIGTERM');
    await within(worker.exited, stopMs, undefined);
    if (worker.ended.aborted) return;
    log.warn('worker_killed', { worker: worker.id, pid: worker.pid, after_ms: stopMs });
    killGroup(worker.pid, 'SIGKILL');
    await within(worker.exited, KILLED_MS, undefined);
  };

  const retire = async (worker: Worker, graceMs: number): Promise<void> => {
    const deadline = Date.now() + graceMs;
    setState(worker, 'stopping');
    if (worker.readyAt > 0) await within(options.release(worker.id), Math.min(graceMs, timeouts.drainMs), undefined);
    await terminate(worker, Math.max(0, Math.min(timeouts.stopMs, deadline - Date.now())));
  };

  for (const slot of slots) void fill(slot);

  return {
    targets: () =>
      slots.flatMap(({ index, worker }) => {
        if (worker?.state !== 'ready') return [];
        const { id, address } = worker;
        return [{ id, place: `${index}`, protocol: 'http', address, serverName: '', weight: 1, healthy: true }];
      }),
    snapshot: () =>
      slots.map(({ index, worker, restarts, lastExit }) => ({
        id: worker?.id ?? `${service.name}/${index}`,
        slot: index,
        pid: worker?.pid ?? null,
        state: worker?.state ?? (stopping.signal.aborted ? 'stopped' : restarts === 0 ? 'starting' : 'backoff'),
        startedAt: worker?.startedAt ?? 0,
        readyAt: worker?.readyAt ?? 0,
        restarts,
        lastExit,
      })),
    reportFailure: (targetId) => {
      for (const { worker } of slots) if (worker?.id === targetId) worker.lookNow.abort();
    },
    stop: async ({ graceMs }) => {
      stopping.abort();
      await Promise.all(slots.map(({ starting }) => starting));
      await Promise.all(slots.map(({ worker }) => (worker === null ? undefined : retire(worker, graceMs))));
    },
  };
}

function killGroup(group: number, signal: 'SIGKILL'): void {
  try {
    process.kill(-group, signal);
  } catch {
    // ESRCH: nobody is left in it.
  }
}
