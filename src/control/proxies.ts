/**
 * The control plane's view of its proxies: starts one per slot, gives each the current parts before it accepts, awaits
 * their acknowledgements, replaces those that die or do not answer.
 */
import { launchProxy } from './proxy_process.ts';
import type { ProxyEnd, ProxyProcess, PublishedPart } from './proxy_process.ts';
import { persist } from '../defects.ts';
import { sleep, within } from '../lifecycle.ts';
import type { LogFormat, Logger, LogLevel } from '../log.ts';
import { PART_NAMES } from '../snapshot.ts';
import type {
  ChallengeName,
  EntrypointStats,
  FromProxy,
  Identity,
  PartName,
  Parts,
  ProxyStats,
  ServiceStats,
  TargetStats,
  TracingTarget,
} from '../snapshot.ts';
import type { RequestCounts } from '../request_counts.ts';
import { VERSION } from '../version.ts';
import type { Listener } from './listeners.ts';
import type { LostRequestsLog } from './lost_requests.ts';
import { createTraffic } from './traffic.ts';
import { PROXIES } from '../workers/backoff.ts';
import { createPlace } from '../workers/place.ts';
import type { Place, PlaceStatus } from '../workers/place.ts';
import type { VacantState, WorkerState } from '../workers/states.ts';

/** A proxy that has not acknowledged a part after this long is killed and replaced. */
const ACKNOWLEDGE_MS = 5_000;
/** Loading the code takes longer on a busy machine than applying a part. */
const START_MS = 6 * ACKNOWLEDGE_MS;
/** A slot without a proxy for this long is also listened to by a sibling. */
const ADOPT_MS = 500;

export interface ProxyPoolOptions {
  readonly count: number;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly identity: Identity | null;
  readonly log: Logger;
  readonly tracing: TracingTarget | null;
  readonly proxyLog: { readonly level: LogLevel; readonly format: LogFormat };
  /** Whole lines a proxy wrote. */
  readonly writeLines: (lines: Buffer) => void;
  readonly guard: { add(pgid: number): void; remove(pgid: number): void };
  /** Whether the kernel has killed this process, that has just ended, for want of memory. */
  readonly outOfMemory: (pid: number) => boolean;
  readonly onTargetFailed: (target: string) => void;
  /** What becomes of requests whose target went away. */
  readonly lost: Pick<LostRequestsLog, 'report' | 'proxyGone'>;
  /** Resolves with the answer to a challenge that was not published, as in the challenges part; null: nobody knows it. */
  readonly findChallenge: (challenge: ChallengeName, key: string) => Promise<string | null>;
}

export interface ProxyStatus extends PlaceStatus {
  readonly slot: number;
  readonly pid: number | null;
  readonly state: WorkerState | VacantState;
  readonly startedAt: number;
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
  entrypointStats(name: string): EntrypointStats;
  /** Of the requests of sites and services that are known; the others are forgotten. */
  requestCounts(isKnown: (row: RequestCounts) => boolean): readonly RequestCounts[];
  /** Drains all, at most `graceMs`, then ends them. */
  stop(graceMs: number): Promise<void>;
}

interface Slot {
  readonly index: number;
  readonly place: Place;
  process: ProxyProcess | null;
  /** The sibling that listens in its place. */
  adoptedBy: ProxyProcess | null;
}

export function createProxyPool(options: ProxyPoolOptions): ProxyPool {
  const { log } = options;
  const stopping = new AbortController();
  const current = new Map<PartName, PublishedPart & { readonly json: string }>();
  let listeners: readonly Listener[] = [];
  let version = 0;
  let droppedLines = 0;
  const traffic = createTraffic();
  /** Proxies' logs that have not come to their end. */
  const passing = new Set<Promise<void>>();
  const slots: Slot[] = Array.from({ length: options.count }, (_, index) => ({
    index,
    place: createPlace(PROXIES),
    process: null,
    adoptedBy: null,
  }));

  const live = (): ProxyProcess[] => slots.flatMap(({ process }) => (process === null ? [] : [process]));

  const told = (): ProxyStats[] => live().flatMap(({ stats }) => (stats === null ? [] : [stats]));

  const receive = (slot: Slot, message: FromProxy): void => {
    switch (message.type) {
      case 'target_failed':
        options.onTargetFailed(message.target);
        break;
      case 'requests_lost':
        options.lost.report(slot.index, message);
        break;
      case 'challenge_wanted': {
        const { id } = message;
        const asking = slot.process;
        void options
          .findChallenge(message.challenge, message.key)
          .then((answer) => asking?.send({ type: 'challenge_found', id, answer }));
        break;
      }
      case 'stats':
        droppedLines += message.droppedLines - (slot.process?.stats?.droppedLines ?? 0);
        if (slot.process !== null) traffic.tellRequests(slot.process, message.requestCounts);
        break;
      default:
    }
  };

  const listenOn = (running: ProxyProcess, slot: Slot): void => {
    for (const listener of listeners) {
      const handle = listener.handles[slot.index];
      if (handle !== undefined) running.send({ type: 'listen', entrypoint: listener.name, slot: slot.index }, handle);
    }
  };

  const returnAdopted = (slot: Slot): void => {
    const foster = slot.adoptedBy;
    slot.adoptedBy = null;
    if (foster === null) return;
    for (const { name } of listeners) foster.send({ type: 'unlisten', entrypoint: name, slot: slot.index });
  };

  const adopt = async (slot: Slot): Promise<void> => {
    await sleep(ADOPT_MS, stopping.signal);
    if (stopping.signal.aborted || slot.process?.state === 'ready' || slot.adoptedBy !== null) return;
    const sibling = live().find((running) => running.state === 'ready' && running.slot !== slot.index);
    if (sibling === undefined) return;
    slot.adoptedBy = sibling;
    listenOn(sibling, slot);
    log.info('slot_adopted', { proxy: slot.index, by: sibling.slot });
  };

  const launch = (slot: Slot): ProxyProcess => {
    const launched = launchProxy({
      slot: slot.index,
      command: options.command,
      env: options.env,
      log,
      writeLines: options.writeLines,
      guard: options.guard,
      outOfMemory: options.outOfMemory,
      onMessage: (message) => receive(slot, message),
    });
    passing.add(launched.logged);
    void launched.logged.then(() => passing.delete(launched.logged));
    void launched.exited.then((end) => onExit(slot, launched, end));
    slot.process = launched;
    slot.place.fill();
    return launched;
  };

  const onExit = (slot: Slot, ended: ProxyProcess, { exit, reason, readyForMs }: ProxyEnd): void => {
    slot.process = null;
    options.lost.proxyGone(slot.index);
    if (ended.stats !== null) traffic.keep(ended.stats);
    for (const other of slots) if (other.adoptedBy === ended) other.adoptedBy = null;
    if (stopping.signal.aborted) return;
    const { delayMs, fatal } = slot.place.ended({ readyForMs, reason }, exit);
    const fields = { proxy: slot.index, pid: ended.pid, exit, reason };
    log.warn('proxy_exited', { ...fields, restart_in_ms: delayMs, given_up: fatal });
    void adopt(slot);
    // Slots the dead one had adopted are orphans again.
    for (const other of slots) if (other !== slot && other.process === null) void adopt(other);
    const again = async (): Promise<void> => {
      if (!stopping.signal.aborted && slot.process === null) await bringUp(slot);
    };
    void sleep(delayMs, stopping.signal).then(() => persist(again, log, stopping.signal));
  };

  const bringUp = async (slot: Slot): Promise<void> => {
    const running = launch(slot);
    running.send({
      type: 'start',
      build: VERSION,
      slot: slot.index,
      identity: options.identity,
      log: options.proxyLog,
      tracing: options.tracing,
    });
    for (const part of PART_NAMES) {
      const entry = current.get(part);
      if (entry !== undefined) running.apply(part, entry);
    }
    for (const part of PART_NAMES) {
      const entry = current.get(part);
      if (entry !== undefined) {
        await running.untilWithin(part, () => running.hasApplied(part, entry.version), START_MS);
      }
    }
    if (slot.process !== running) return;
    returnAdopted(slot);
    listenOn(running, slot);
    running.enter('ready');
    // A listener that a reload removes meanwhile is waited for no more.
    await running.untilWithin('listen', () => listeners.every(({ name }) => running.listening.has(name)), START_MS);
    if (slot.process !== running) return;
    log.info('proxy_ready', { proxy: slot.index, pid: running.pid });
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
        for (const running of live()) running.apply(part, entry);
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
          .map((running) => running.untilWithin(part, () => running.hasApplied(part, wanted), ACKNOWLEDGE_MS)),
      );
    },
    released: async (target) => {
      await Promise.all(live().map((running) => running.until(() => !running.targets.has(target))));
    },
    get droppedLines() {
      return droppedLines;
    },
    setListeners: (next) => {
      const removed = listeners.filter((old) => !next.includes(old));
      const added = next.filter((listener) => !listeners.includes(listener));
      for (const running of live()) {
        for (const { name } of removed) {
          for (const slot of slots) running.send({ type: 'unlisten', entrypoint: name, slot: slot.index });
          running.listening.delete(name);
        }
        if (running.state !== 'ready') continue;
        for (const listener of added) {
          const handle = listener.handles[running.slot];
          const { slot: index } = running;
          if (handle !== undefined) running.send({ type: 'listen', entrypoint: listener.name, slot: index }, handle);
        }
      }
      listeners = next;
    },
    reopenLogs: () => {
      for (const running of live()) running.send({ type: 'reopen_logs' });
    },
    status: () =>
      slots.map(({ index, process: running, place }) => ({
        ...place.status(),
        slot: index,
        pid: running?.pid ?? null,
        state: running?.state ?? place.vacant,
        startedAt: running?.startedAt ?? 0,
        stats: running?.stats ?? null,
        heardAt: running?.heardAt ?? 0,
      })),
    targetStats: (id) => traffic.target(id, told()),
    serviceStats: (name) => traffic.service(name, told()),
    entrypointStats: (name) => traffic.entrypoint(name, told()),
    requestCounts: traffic.requests,
    stop: async (graceMs) => {
      stopping.abort();
      await Promise.all(
        live().map(async (running) => {
          running.enter('draining');
          running.send({ type: 'drain', graceMs });
          await within(
            running.until(() => running.drained),
            graceMs + 1_000,
            undefined,
          );
          await running.end(1_000);
        }),
      );
      // Their last lines may still be on their way.
      await within(Promise.all(passing), 1_000, undefined);
    },
  };
}
