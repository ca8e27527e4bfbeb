/**
 * The control plane's view of its proxies: starts one per slot, gives each the current parts before it accepts, awaits
 * their acknowledgements, replaces those that die or do not answer.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { sleep, within } from '../lifecycle.ts';
import type { LogFormat, Logger, LogLevel } from '../log.ts';
import { LOG_FD, PART_NAMES, parseFromProxy } from '../snapshot.ts';
import type {
  ChallengeName,
  FromProxy,
  Identity,
  PartName,
  Parts,
  ProxyStats,
  ServiceStats,
  TargetStats,
  ToProxy,
} from '../snapshot.ts';
import { VERSION } from '../version.ts';
import type { Listener } from './listeners.ts';
import { nextProxyStart } from './proxy_restart.ts';
import { createTraffic } from './traffic.ts';
import { passWholeLines } from './whole_lines.ts';

/** A proxy that has not acknowledged a part after this long is killed and replaced. */
const ACKNOWLEDGE_MS = 5_000;
/** Loading the code takes longer on a busy machine than applying a part. */
const START_MS = 6 * ACKNOWLEDGE_MS;
/** A slot without a proxy for this long is also listened to by a sibling. */
const ADOPT_MS = 500;

/**
 * Of what bodies that wait are kept in, V8 thinks too late with its default of 16 MiB: 200 MB up and down leave a proxy 27 MiB
 * larger with 4 MiB, 21 with 2, 12 with 1, which costs 2 % of a small request's CPU.
 */
const YOUNG_GENERATION = '--max-semi-space-size=1';

export interface ProxyPoolOptions {
  readonly count: number;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly identity: Identity | null;
  readonly log: Logger;
  readonly proxyLog: { readonly level: LogLevel; readonly format: LogFormat };
  /** Whole lines a proxy wrote. */
  readonly writeLines: (lines: Buffer) => void;
  readonly guard: { add(pgid: number): void; remove(pgid: number): void };
  readonly onTargetFailed: (target: string) => void;
  /** Resolves with the answer to a challenge that was not published, as in the challenges part; null: nobody knows it. */
  readonly findChallenge: (challenge: ChallengeName, key: string) => Promise<string | null>;
}

export type ProxyState = 'starting' | 'ready' | 'draining' | 'waiting' | 'stopped';

export interface ProxyStatus {
  readonly slot: number;
  readonly pid: number | null;
  readonly state: ProxyState;
  readonly startedAt: number;
  readonly restarts: number;
  readonly stats: ProxyStats | null;
  /** When it last said anything; milliseconds since the epoch. */
  readonly heardAt: number;
}

export interface ProxyPool {
  /** Starts all; resolves when each has the parts published so far and listens. */
  start(): Promise<void>;
  /** Replaces a part; resolves when every live proxy has acknowledged it. Unchanged values are not sent again. */
  publish<Name extends PartName>(part: Name, value: Parts[Name]): Promise<void>;
  /** Resolves when no live proxy has a request on a target that was taken out of the upstreams part. */
  released(target: string): Promise<void>;
  /** Log lines the proxies could not hand over. */
  readonly droppedLines: number;
  /** Adds and removes listeners to match. */
  setListeners(listeners: readonly Listener[]): void;
  /** Makes all go on in new log files. */
  reopenLogs(): void;
  status(): readonly ProxyStatus[];
  /** What all proxies, also those that died, told of a target and a service: at most a second old. */
  targetStats(id: string): TargetStats;
  serviceStats(name: string): ServiceStats;
  /** Drains all, at most `graceMs`, then ends them. */
  stop(graceMs: number): Promise<void>;
}

interface Slot {
  readonly index: number;
  process: Running | null;
  failures: number;
  restarts: number;
  /** The sibling that listens in its place. */
  adoptedBy: Running | null;
}

interface Running {
  readonly child: ChildProcess;
  readonly slot: Slot;
  readonly startedAt: number;
  readonly exited: Promise<void>;
  state: ProxyState;
  /** 0: not yet. */
  readyAt: number;
  readonly acknowledged: Map<PartName, number>;
  /** Entrypoints on whose socket for its own slot it accepts. */
  readonly listening: Set<string>;
  /** Targets this process has been told of and has not released. */
  readonly targets: Set<string>;
  stats: ProxyStats | null;
  heardAt: number;
  readonly waiters: Set<() => void>;
  drained: boolean;
}

export function createProxyPool(options: ProxyPoolOptions): ProxyPool {
  const { log } = options;
  const stopping = new AbortController();
  const current = new Map<PartName, { readonly version: number; readonly value: Parts[PartName]; json: string }>();
  let listeners: readonly Listener[] = [];
  let version = 0;
  let droppedLines = 0;
  const traffic = createTraffic();
  /** Proxies' logs that have not come to their end. */
  const passing = new Set<Promise<void>>();
  const slots: Slot[] = Array.from({ length: options.count }, (_, index) => ({
    index,
    process: null,
    failures: 0,
    restarts: 0,
    adoptedBy: null,
  }));

  const live = (): Running[] => slots.flatMap(({ process }) => (process === null ? [] : [process]));

  const told = (): ProxyStats[] => live().flatMap(({ stats }) => (stats === null ? [] : [stats]));

  const send = (running: Running, message: ToProxy, handle?: object): void => {
    if (!running.child.connected) return;
    // Native handles are sent as they are and stay open here; the types know only wrapped ones.
    running.child.send(message, handle as never, {}, () => {});
  };

  const sendPart = (running: Running, part: PartName): void => {
    const entry = current.get(part);
    if (entry === undefined) return;
    if (part === 'upstreams') {
      for (const service of (entry.value as Parts['upstreams']).services) {
        for (const target of service.targets) running.targets.add(target.id);
      }
    }
    send(running, { type: 'apply', part, version: entry.version, value: entry.value });
  };

  /** Resolves when `done()` holds or the process is gone; `done` is asked again at each of its messages. */
  const until = async (running: Running, done: () => boolean): Promise<void> => {
    if (done()) return;
    let waiter = (): void => {};
    const met = new Promise<void>((resolve) => {
      waiter = () => {
        if (done()) resolve();
      };
      running.waiters.add(waiter);
    });
    await Promise.race([met, running.exited]);
    running.waiters.delete(waiter);
  };

  const hasApplied = (running: Running, part: PartName, wanted: number): boolean =>
    (running.acknowledged.get(part) ?? 0) >= wanted;

  /** Resolves when `done()` holds, or the process is gone: killed, when it did not hold in time. */
  const untilWithin = async (
    running: Running,
    part: PartName | 'listen',
    done: () => boolean,
    ms: number,
  ): Promise<void> => {
    const outcome = await within(
      until(running, done).then(() => 'done'),
      ms,
      'late',
    );
    if (outcome === 'late') {
      log.error('proxy_unresponsive', { proxy: running.slot.index, pid: running.child.pid, part });
      running.child.kill('SIGKILL');
      await running.exited;
    }
  };

  const receive = (running: Running, message: FromProxy): void => {
    running.heardAt = Date.now();
    switch (message.type) {
      case 'applied':
        running.acknowledged.set(message.part, message.version);
        break;
      case 'released':
        running.targets.delete(message.target);
        break;
      case 'target_failed':
        options.onTargetFailed(message.target);
        break;
      case 'challenge_wanted': {
        const { id } = message;
        void options
          .findChallenge(message.challenge, message.key)
          .then((answer) => send(running, { type: 'challenge_found', id, answer }));
        break;
      }
      case 'stats':
        droppedLines += message.droppedLines - (running.stats?.droppedLines ?? 0);
        running.stats = message;
        break;
      case 'drained':
        running.drained = true;
        break;
      case 'listening':
        if (message.slot === running.slot.index) running.listening.add(message.entrypoint);
        break;
      case 'hello':
      case 'started':
        break;
    }
    for (const waiter of running.waiters) waiter();
  };

  const listenOn = (running: Running, slot: Slot): void => {
    for (const listener of listeners) {
      const handle = listener.handles[slot.index];
      if (handle !== undefined) send(running, { type: 'listen', entrypoint: listener.name, slot: slot.index }, handle);
    }
  };

  const returnAdopted = (slot: Slot): void => {
    const foster = slot.adoptedBy;
    slot.adoptedBy = null;
    if (foster === null) return;
    for (const { name } of listeners) send(foster, { type: 'unlisten', entrypoint: name, slot: slot.index });
  };

  const adopt = async (slot: Slot): Promise<void> => {
    await sleep(ADOPT_MS, stopping.signal);
    if (stopping.signal.aborted || slot.process?.state === 'ready' || slot.adoptedBy !== null) return;
    const sibling = live().find((running) => running.state === 'ready' && running.slot !== slot);
    if (sibling === undefined) return;
    slot.adoptedBy = sibling;
    listenOn(sibling, slot);
    log.info('slot_adopted', { proxy: slot.index, by: sibling.slot.index });
  };

  const launch = (slot: Slot): Running => {
    const [file = process.execPath, ...args] = options.command;
    const child = spawn(file, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
      env: proxyEnvironment(options.env),
      // A terminal's Ctrl-C must reach the control plane alone.
      detached: true,
    });
    const { pid } = child;
    if (pid !== undefined) options.guard.add(pid);
    const running: Running = {
      child,
      slot,
      startedAt: Date.now(),
      exited: new Promise((resolve) => {
        child.once('exit', (code, signal) => {
          if (pid !== undefined) options.guard.remove(pid);
          running.state = 'stopped';
          resolve();
          onExit(running, code, signal);
        });
        child.once('error', (error) => {
          log.error('proxy_not_started', { proxy: slot.index, error });
          if (pid !== undefined) return;
          running.state = 'stopped';
          resolve();
          onExit(running, null, null);
        });
      }),
      state: 'starting',
      readyAt: 0,
      acknowledged: new Map(),
      listening: new Set(),
      targets: new Set(),
      stats: null,
      heardAt: 0,
      waiters: new Set(),
      drained: false,
    };
    child.on('message', (value) => {
      const message = parseFromProxy(value);
      if (message !== null) receive(running, message);
    });
    const logged = passWholeLines(child.stdio[LOG_FD], options.writeLines);
    passing.add(logged);
    void logged.then(() => passing.delete(logged));
    slot.process = running;
    return running;
  };

  const onExit = (running: Running, code: number | null, signal: string | null): void => {
    const { slot } = running;
    slot.process = null;
    if (running.stats !== null) traffic.keep(running.stats);
    for (const other of slots) if (other.adoptedBy === running) other.adoptedBy = null;
    if (stopping.signal.aborted) return;
    const readyForMs = running.readyAt === 0 ? null : Date.now() - running.readyAt;
    const { delayMs, failures } = nextProxyStart({ readyForMs, failures: slot.failures });
    slot.failures = failures;
    slot.restarts++;
    log.warn('proxy_exited', { proxy: slot.index, pid: running.child.pid, code, signal, restart_in_ms: delayMs });
    void adopt(slot);
    // Slots the dead one had adopted are orphans again.
    for (const other of slots) if (other !== slot && other.process === null) void adopt(other);
    void sleep(delayMs, stopping.signal).then(() => {
      if (!stopping.signal.aborted) void bringUp(slot);
    });
  };

  const bringUp = async (slot: Slot): Promise<void> => {
    const running = launch(slot);
    send(running, {
      type: 'start',
      build: VERSION,
      slot: slot.index,
      identity: options.identity,
      log: options.proxyLog,
    });
    for (const part of PART_NAMES) sendPart(running, part);
    for (const part of PART_NAMES) {
      const entry = current.get(part);
      if (entry !== undefined) {
        await untilWithin(running, part, () => hasApplied(running, part, entry.version), START_MS);
      }
    }
    if (slot.process !== running) return;
    returnAdopted(slot);
    listenOn(running, slot);
    running.state = 'ready';
    running.readyAt = Date.now();
    // A listener that a reload removes meanwhile is waited for no more.
    await untilWithin(running, 'listen', () => listeners.every(({ name }) => running.listening.has(name)), START_MS);
    if (slot.process !== running) return;
    log.info('proxy_ready', { proxy: slot.index, pid: running.child.pid });
  };

  return {
    start: async () => {
      await Promise.all(slots.map((slot) => bringUp(slot)));
    },
    publish: async (part, value) => {
      const json = JSON.stringify(value);
      let entry = current.get(part);
      if (entry === undefined || entry.json !== json) {
        entry = { version: ++version, value, json };
        current.set(part, entry);
        for (const running of live()) sendPart(running, part);
        if (part === 'upstreams') {
          const { services } = value as Parts['upstreams'];
          const known = new Set(services.flatMap(({ targets }) => targets.map(({ id }) => id)));
          traffic.forget((id) => known.has(id) || live().some(({ targets }) => targets.has(id)));
        }
      }
      const wanted = entry.version;
      // A process that is still starting gets the current parts before it accepts; nobody need wait for it.
      await Promise.all(
        live()
          .filter(({ state }) => state === 'ready' || state === 'draining')
          .map((running) => untilWithin(running, part, () => hasApplied(running, part, wanted), ACKNOWLEDGE_MS)),
      );
    },
    released: async (target) => {
      await Promise.all(live().map((running) => until(running, () => !running.targets.has(target))));
    },
    get droppedLines() {
      return droppedLines;
    },
    setListeners: (next) => {
      const removed = listeners.filter((old) => !next.includes(old));
      const added = next.filter((listener) => !listeners.includes(listener));
      for (const running of live()) {
        for (const { name } of removed) {
          for (const slot of slots) send(running, { type: 'unlisten', entrypoint: name, slot: slot.index });
          running.listening.delete(name);
        }
        if (running.state !== 'ready') continue;
        for (const listener of added) {
          const handle = listener.handles[running.slot.index];
          const { index } = running.slot;
          if (handle !== undefined) send(running, { type: 'listen', entrypoint: listener.name, slot: index }, handle);
        }
      }
      listeners = next;
    },
    reopenLogs: () => {
      for (const running of live()) send(running, { type: 'reopen_logs' });
    },
    status: () =>
      slots.map(({ index, process: running, restarts }) => ({
        slot: index,
        pid: running?.child.pid ?? null,
        state: running?.state ?? 'waiting',
        startedAt: running?.startedAt ?? 0,
        restarts,
        stats: running?.stats ?? null,
        heardAt: running?.heardAt ?? 0,
      })),
    targetStats: (id) => traffic.target(id, told()),
    serviceStats: (name) => traffic.service(name, told()),
    stop: async (graceMs) => {
      stopping.abort();
      await Promise.all(
        live().map(async (running) => {
          running.state = 'draining';
          send(running, { type: 'drain', graceMs });
          await within(
            until(running, () => running.drained),
            graceMs + 1_000,
            undefined,
          );
          running.child.disconnect();
          await within(running.exited, 1_000, undefined);
          running.child.kill('SIGKILL');
        }),
      );
      // Their last lines may still be on their way.
      await within(Promise.all(passing), 1_000, undefined);
    },
  };
}

function proxyEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  const options = [env['NODE_OPTIONS'], YOUNG_GENERATION].filter(Boolean).join(' ');
  // io_uring keeps the rights a process has dropped (CVE-2024-22017).
  return { ...env, PROXY_ROLE: 'proxy', UV_USE_IO_URING: '0', NODE_OPTIONS: options };
}
