/** One proxy process, from its launch to its end, as the control plane sees it. What takes its place is the pool's to decide. */
import { spawn } from 'node:child_process';
import { passWholeLines } from './whole_lines.ts';
import { tellDefect } from '../defects.ts';
import { within } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';
import { LOG_FD, parseFromProxy } from '../snapshot.ts';
import type { FromProxy, PartName, Parts, ProxyStats, ToProxy } from '../snapshot.ts';
import { classifyExit, describeExit } from '../workers/exits.ts';
import { NEXT } from '../workers/states.ts';
import type { Reason, WorkerState } from '../workers/states.ts';

/**
 * Of what bodies that wait are kept in, V8 thinks too late with its default of 16 MiB: 200 MB up and down leave a proxy 27 MiB
 * larger with 4 MiB, 21 with 2, 12 with 1, which costs 2 % of a small request's CPU.
 */
const YOUNG_GENERATION = '--max-semi-space-size=1';

export interface ProxyProcessOptions {
  readonly slot: number;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: Logger;
  /** Whole lines it wrote. */
  readonly writeLines: (lines: Buffer) => void;
  readonly guard: { add(pgid: number): void; remove(pgid: number): void };
  readonly outOfMemory: (pid: number) => boolean;
  /** What it said, after what of it this view keeps is kept. */
  readonly onMessage: (message: FromProxy) => void;
}

export interface ProxyEnd {
  readonly exit: string;
  readonly reason: Reason;
  /** Milliseconds; null: it never was ready. */
  readonly readyForMs: number | null;
}

export interface PublishedPart {
  readonly version: number;
  readonly value: Parts[PartName];
}

export interface ProxyProcess {
  readonly slot: number;
  readonly pid: number | null;
  readonly state: WorkerState;
  readonly startedAt: number;
  readonly stats: ProxyStats | null;
  /** When it last said anything; 0: not yet. */
  readonly heardAt: number;
  /** Targets it has been told of and has not released. */
  readonly targets: ReadonlySet<string>;
  /** Entrypoints on whose socket for its own slot it accepts. */
  readonly listening: Set<string>;
  readonly drained: boolean;
  readonly exited: Promise<ProxyEnd>;
  /** Resolves at the end of its log. */
  readonly logged: Promise<void>;
  enter(next: WorkerState): void;
  send(message: ToProxy, handle?: object): void;
  apply(part: PartName, published: PublishedPart): void;
  hasApplied(part: PartName, version: number): boolean;
  /** Resolves when `done()` holds or the process is gone; `done` is asked again at each of its messages. */
  until(done: () => boolean): Promise<void>;
  /** The same, but killed when it does not hold in time. */
  untilWithin(what: PartName | 'listen', done: () => boolean, ms: number): Promise<void>;
  /** Ends it by its channel, by force when that takes too long. */
  end(graceMs: number): Promise<void>;
}

export function launchProxy(options: ProxyProcessOptions): ProxyProcess {
  const { slot, log } = options;
  const [file = process.execPath, ...args] = options.command;
  const child = spawn(file, args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
    env: proxyEnvironment(options.env),
    // A terminal's Ctrl-C must reach the control plane alone.
    detached: true,
  });
  const { pid } = child;
  if (pid !== undefined) options.guard.add(pid);
  const startedAt = Date.now();
  const acknowledged = new Map<PartName, number>();
  const listening = new Set<string>();
  const targets = new Set<string>();
  const waiters = new Set<() => void>();
  let state: WorkerState = 'starting';
  let readyAt = 0;
  let reason: Reason | null = null;
  let stats: ProxyStats | null = null;
  let heardAt = 0;
  let drained = false;

  const enter = (next: WorkerState): void => {
    if (!NEXT[state].includes(next)) return;
    log.debug('proxy_state', { proxy: slot, pid, from: state, to: next, ...(reason === null ? {} : { reason }) });
    state = next;
    if (next === 'ready') readyAt = Date.now();
  };

  const { promise: exited, resolve: resolveExited } = Promise.withResolvers<ProxyEnd>();
  child.once('exit', (code, signal) => {
    const known = { code, signal, asked: state === 'stopping', killed: state === 'killing', wasReady: readyAt > 0 };
    const outOfMemory = pid !== undefined && options.outOfMemory(pid);
    if (pid !== undefined) options.guard.remove(pid);
    enter('stopped');
    const readyForMs = readyAt === 0 ? null : Date.now() - readyAt;
    reason ??= classifyExit({ ...known, outOfMemory, tail: [] });
    resolveExited({ exit: describeExit(known), reason, readyForMs });
  });
  child.on('error', (error) => {
    log.error('proxy_not_started', { proxy: slot, error });
    if (pid !== undefined) return;
    enter('stopped');
    resolveExited({ exit: describeError(error), reason: 'boot', readyForMs: null });
  });

  const keep = (message: FromProxy): void => {
    heardAt = Date.now();
    switch (message.type) {
      case 'applied':
        acknowledged.set(message.part, message.version);
        break;
      case 'released':
        targets.delete(message.target);
        break;
      case 'drained':
        drained = true;
        break;
      case 'listening':
        if (message.slot === slot) listening.add(message.entrypoint);
        break;
      default:
    }
  };
  child.on('message', (value) => {
    const message = parseFromProxy(value);
    if (message === null) return;
    keep(message);
    try {
      options.onMessage(message);
    } catch (error) {
      tellDefect(log, error);
    }
    // What it told before is what the pool compares this with.
    if (message.type === 'stats') stats = message;
    for (const waiter of waiters) waiter();
  });

  const send = (message: ToProxy, handle?: object): void => {
    if (!child.connected) return;
    // Native handles are sent as they are and stay open here; the types know only wrapped ones.
    child.send(message, handle as never, {}, () => {});
  };

  const until = async (done: () => boolean): Promise<void> => {
    if (done()) return;
    let waiter = (): void => {};
    const met = new Promise<void>((resolve) => {
      waiter = () => {
        if (done()) resolve();
      };
      waiters.add(waiter);
    });
    await Promise.race([met, exited]);
    waiters.delete(waiter);
  };

  return {
    slot,
    pid: pid ?? null,
    startedAt,
    get state() {
      return state;
    },
    get stats() {
      return stats;
    },
    get heardAt() {
      return heardAt;
    },
    targets,
    listening,
    get drained() {
      return drained;
    },
    exited,
    logged: pid === undefined ? Promise.resolve() : passWholeLines(child.stdio[LOG_FD], options.writeLines),
    enter,
    send,
    apply: (part, { version, value }) => {
      if (part === 'upstreams') {
        for (const service of (value as Parts['upstreams']).services) {
          for (const target of service.targets) targets.add(target.id);
        }
      }
      send({ type: 'apply', part, version, value });
    },
    hasApplied: (part, version) => (acknowledged.get(part) ?? 0) >= version,
    until,
    untilWithin: async (what, done, ms) => {
      const met = until(done).then(() => true);
      if (await within(met, ms, false)) return;
      log.error('proxy_unresponsive', { proxy: slot, pid, part: what });
      reason = readyAt === 0 ? 'boot' : 'liveness';
      enter('killing');
      child.kill('SIGKILL');
      await exited;
    },
    end: async (graceMs) => {
      enter('stopping');
      if (child.connected) child.disconnect();
      await within(exited, graceMs, undefined);
      enter('killing');
      child.kill('SIGKILL');
    },
  };
}

function proxyEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  const options = [env['NODE_OPTIONS'], YOUNG_GENERATION].filter(Boolean).join(' ');
  // io_uring keeps the rights a process has dropped (CVE-2024-22017).
  return { ...env, PROXY_ROLE: 'proxy', UV_USE_IO_URING: '0', NODE_OPTIONS: options };
}
