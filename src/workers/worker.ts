/**
 * One worker process, from its launch to its end, as the control plane sees it. It never starts another: what takes its
 * place is the supervisor's to decide.
 */
import type { WorkerCgroups } from './cgroups.ts';
import { afterProbe, HEALTHY, UNHEALTHY, untilNextProbe } from './health.ts';
import type { Health } from './health.ts';
import { launchWorker } from './launch.ts';
import type { LaunchedService, LaunchOptions } from './launch.ts';
import { readOutput } from './output.ts';
import { plainTarget, probe } from './probe.ts';
import type { WorkerRecords } from './records.ts';
import { classifyExit, describeExit, READ_LINES } from './exits.ts';
import { NEXT } from './states.ts';
import type { Cause, Reason, WorkerState } from './states.ts';
import { sleep, within } from '../lifecycle.ts';
import type { Logger } from '../log.ts';
import type { Address } from '../snapshot.ts';

/** While a worker starts, it is asked this often whether it is ready: at first, and at most. */
const START_PROBE_MS = [20, 50, 100, 200, 500];
/** One that serves nothing is ready when it has not ended for so long. */
const ALIVE_MS = 1_000;
/** A process group that was KILLed is gone after this long, or the kernel holds it. */
const KILLED_MS = 5_000;
/** What a worker that hangs gets to write where it stands (SIGABRT, with Python's fault handler). */
const DUMP_MS = 5_000;
/** Its last words may come after its end; what it started and lost sight of may hold its pipes for ever. */
const LAST_WORDS_MS = 500;

export interface WorkerOptions extends LaunchOptions {
  readonly service: LaunchedService;
  /** As the service is defined now: checks and times change while a worker runs. */
  readonly current: () => LaunchedService;
  readonly id: string;
  readonly guard: { add(group: number): void; remove(group: number): void };
  readonly records: WorkerRecords;
  /** None without. */
  readonly cgroups?: WorkerCgroups;
  readonly log: Logger;
  readonly onState: (worker: Worker, from: WorkerState) => void;
  /** Resolves when the target, which has left balancing, has no request any more. */
  readonly release: (targetId: string) => Promise<void>;
  /** Whether the kernel has killed this process, that has just ended, for want of memory. */
  readonly outOfMemory?: (pid: number) => boolean;
}

/** How it ended. */
export interface End {
  readonly code: number | null;
  readonly signal: string | null;
  /** Why we ended it; null: we did not. */
  readonly doom: string | null;
  /** Milliseconds; null: it never was ready. */
  readonly readyForMs: number | null;
  readonly cause: Cause;
}

export interface Worker {
  readonly id: string;
  readonly service: LaunchedService;
  readonly generation: number;
  readonly pid: number;
  readonly address: Address;
  /** Milliseconds since the epoch; `readyAt` 0: not yet. */
  readonly startedAt: number;
  readonly readyAt: number;
  readonly state: WorkerState;
  /** By `performance.now()`: since when it fails its checks, 0: it does not; and when one was last answered at all. */
  readonly unhealthySince: number;
  readonly heardAt: number;
  /** Why it is being ended. */
  readonly reason: Reason | null;
  /** Aborts when the process has ended. */
  readonly ended: AbortSignal;
  readonly exited: Promise<End>;
  /** Resolves with null when it is ready, else with what was wrong, after which it is gone. */
  readonly started: Promise<string | null>;
  /** Its last lines, the latest last. */
  tail(count: number): readonly string[];
  /** Of its lines, those the log did not get. */
  readonly lostLines: number;
  /** Something went wrong there: look at once. */
  lookNow(): void;
  /** Out of balancing, requests ended, TERM, KILL; within `graceMs` milliseconds. */
  retire(reason: Reason, graceMs: number): Promise<void>;
  /** At once; with `dump` it may say first where it stands. */
  kill(reason: Reason, why: string, dump: boolean): Promise<void>;
}

export async function createWorker(options: WorkerOptions): Promise<Worker> {
  const { service, current, id, log } = options;
  const { child, pid, address } = await launchWorker(options);
  options.cgroups?.add(pid, {
    service: service.name,
    slot: options.slot,
    generation: options.generation,
    memoryMax: service.memory.hard,
  });
  options.guard.add(pid);
  options.records.add(pid);
  const startedAt = Date.now();
  const ended = new AbortController();
  const output = readOutput({ stdout: child.stdout, stderr: child.stderr, worker: id, log });
  let state: WorkerState = 'starting';
  let readyAt = 0;
  let doom: string | null = null;
  let reason: Reason | null = null;
  let health: Health = HEALTHY;
  let unhealthySince = 0;
  let heardAt = 0;
  let look = new AbortController();
  let retiring: Promise<void> | null = null;
  const started = Promise.withResolvers<string | null>();

  const enter = (next: WorkerState): void => {
    if (!NEXT[state].includes(next)) return;
    const from = state;
    state = next;
    log.debug('worker_state', { worker: id, pid, from, to: next, ...(reason === null ? {} : { reason }) });
    options.onState(worker, from);
  };

  /** Its process group, and what left that. */
  const killAll = (): void => {
    signalGroup(pid, 'SIGKILL');
    options.cgroups?.kill(pid);
  };

  const exited = new Promise<End>((resolve) => {
    child.once('exit', (code, signal) => {
      const readyForMs = readyAt === 0 ? null : Date.now() - readyAt;
      const known = {
        code,
        signal,
        asked: state === 'stopping',
        killed: state === 'killing',
        wasReady: readyAt > 0,
        outOfMemory: (options.cgroups?.oomKills(pid) ?? 0) > 0 || (options.outOfMemory?.(pid) ?? false),
      };
      ended.abort();
      // What the worker started ends with it: it would hold the worker's port, and nobody watches it.
      killAll();
      void options.cgroups?.remove(pid);
      options.guard.remove(pid);
      options.records.remove(pid);
      if (reason !== null && doom === null)
        log.info('worker_stopped', { worker: id, pid, exit: describeExit(known), reason });
      enter('stopped');
      void within(output.ended, LAST_WORDS_MS, undefined).then(() => {
        const cause = classifyExit({ ...known, tail: output.tail(READ_LINES) });
        resolve({ code, signal, doom, readyForMs, cause });
      });
    });
  });

  /** TERM to the worker, which tells its own children; KILL to all that is left of its group. */
  const terminate = async (stopMs: number): Promise<void> => {
    if (ended.signal.aborted) return;
    enter('stopping');
    child.kill('SIGTERM');
    await within(exited, stopMs, undefined);
    if (ended.signal.aborted) return;
    log.warn('worker_killed', { worker: id, pid, after_ms: stopMs });
    enter('killing');
    killAll();
    await within(exited, KILLED_MS, undefined);
  };

  const howEnded = async (): Promise<string> => {
    const end = await exited;
    return `it ended with ${describeExit(end)}`;
  };

  /** Null when it answers, else what its last probe said when its time was up. */
  const becomesReady = async (): Promise<string | null> => {
    const { healthCheck, timeouts } = service;
    if (healthCheck.type === 'process') {
      await sleep(ALIVE_MS, ended.signal);
      return ended.signal.aborted ? howEnded() : null;
    }
    const deadline = Date.now() + timeouts.startMs;
    for (let attempt = 0; ; attempt++) {
      await sleep(START_PROBE_MS[Math.min(attempt, START_PROBE_MS.length - 1)] ?? 0, ended.signal);
      if (ended.signal.aborted) return howEnded();
      const timeoutMs = Math.min(healthCheck.timeoutMs, Math.max(1, deadline - Date.now()));
      const { path } = healthCheck;
      const result = await probe(plainTarget(address), { path, timeoutMs, signal: ended.signal });
      if (result.ok) return null;
      if (Date.now() >= deadline) return `not ready after ${timeouts.startMs} ms: ${result.reason}`;
    }
  };

  /** Active health checks, until the worker ends or is ended. */
  const watch = async (): Promise<void> => {
    const watched = (): boolean => state === 'ready' || state === 'unhealthy';
    let tookMs = 0;
    while (watched()) {
      const { healthCheck } = current();
      if (healthCheck.type === 'process') return;
      const { intervalMs, timeoutMs, path } = healthCheck;
      await sleep(untilNextProbe(health, intervalMs, tookMs), AbortSignal.any([ended.signal, look.signal]));
      const reported = look.signal.aborted;
      if (reported) look = new AbortController();
      if (!watched()) return;
      const begunAt = performance.now();
      const result = await probe(plainTarget(address), { path, timeoutMs, signal: ended.signal });
      if (!watched()) return;
      const now = performance.now();
      tookMs = now - begunAt;
      if (result.ok || result.answered) heardAt = now;
      // A client's request has already failed there: no need to be told three times.
      const next = reported && !result.ok ? UNHEALTHY : afterProbe(health, result.ok, healthCheck);
      if (next.healthy !== health.healthy) {
        if (result.ok) log.info('worker_healthy', { worker: id });
        else log.warn('worker_unhealthy', { worker: id, reason: result.reason });
      }
      health = next;
      if (next.healthy) unhealthySince = 0;
      else if (unhealthySince === 0) unhealthySince = now;
      enter(next.healthy ? 'ready' : 'unhealthy');
    }
  };

  const start = async (): Promise<string | null> => {
    const problem = await becomesReady();
    if (problem === null && state === 'starting') {
      readyAt = Date.now();
      heardAt = performance.now();
      log.info('worker_ready', { worker: id, pid, after_ms: readyAt - startedAt });
      enter('ready');
      void watch();
      return null;
    }
    if (ended.signal.aborted || state !== 'starting') return problem ?? 'it was told to end';
    doom = problem;
    reason = 'boot';
    // Where it hangs is worth knowing, when it can say so.
    await terminate(service.timeouts.stopMs);
    return problem;
  };

  const retire = async (graceMs: number): Promise<void> => {
    const deadline = Date.now() + graceMs;
    if (readyAt > 0) enter('draining');
    if (readyAt > 0) await within(options.release(id), Math.min(graceMs, current().timeouts.drainMs), undefined);
    await terminate(Math.max(0, Math.min(current().timeouts.stopMs, deadline - Date.now())));
  };

  const worker: Worker = {
    id,
    service,
    generation: options.generation,
    pid,
    address,
    startedAt,
    get readyAt() {
      return readyAt;
    },
    get state() {
      return state;
    },
    get unhealthySince() {
      return unhealthySince;
    },
    get heardAt() {
      return heardAt;
    },
    get reason() {
      return reason;
    },
    ended: ended.signal,
    exited,
    started: started.promise,
    tail: output.tail,
    get lostLines() {
      return output.lostLines;
    },
    lookNow: () => look.abort(),
    retire: (why, graceMs) => {
      reason ??= why;
      return (retiring ??= retire(graceMs));
    },
    kill: async (why, told, dump) => {
      if (ended.signal.aborted) return;
      reason ??= why;
      doom ??= told;
      log.warn('worker_killed', { worker: id, pid, reason: why, why: told });
      enter('killing');
      if (dump) {
        child.kill('SIGABRT');
        await within(exited, DUMP_MS, undefined);
      }
      killAll();
      await within(exited, KILLED_MS, undefined);
    },
  };
  log.debug('worker_started', { worker: id, pid });
  void start().then(started.resolve);
  return worker;
}

function signalGroup(group: number, signal: 'SIGKILL'): void {
  try {
    process.kill(-group, signal);
  } catch {
    // ESRCH: nobody is left in it.
  }
}
