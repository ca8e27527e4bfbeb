/**
 * A proxy process: it moves bytes and knows only the parts it was given. This file is its composition root: messages
 * from the control plane in, entrypoints and services out.
 */
import { randomBytes } from 'node:crypto';
import { flushCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { createAddressSet } from '../address_set.ts';
import { createAccessLog } from './access_log.ts';
import type { AccessLogOptions } from './access_log.ts';
import { createChallenges } from './challenges.ts';
import { createClock } from './clock.ts';
import { createEntrypoint } from './entrypoint.ts';
import type { Entrypoint } from './entrypoint.ts';
import type { Front } from './front.ts';
import { UnsentBudget } from './http2/unsent_budget.ts';
import { createLogFile, createLogPipe } from './log_sinks.ts';
import type { LogFile } from './log_sinks.ts';
import { createLostRequests } from './lost_requests.ts';
import { createRequestIds } from './request_ids.ts';
import { createRouter } from './router.ts';
import type { Router } from './router.ts';
import { createRequestCounter } from './request_counter.ts';
import { createCertificateIndex } from './tls.ts';
import { createTraceparents } from './trace_context.ts';
import { loadTracing } from './tracing.ts';
import type { Tracing } from './tracing.ts';
import { createAffinitySource } from './upstream/affinity.ts';
import { endStreams } from './upstream/leaving.ts';
import { Service, Target } from './upstream/service.ts';
import { within } from '../lifecycle.ts';
import { createLogger } from '../log.ts';
import type { Logger } from '../log.ts';
import { LOG_FD, parseToProxy } from '../snapshot.ts';
import type { FromProxy, PartName, Parts, ServiceStats, TargetStats, ToProxy } from '../snapshot.ts';
import { VERSION } from '../version.ts';

/** A worker that hangs is to be found within a second: this, and the look of who watches it. */
const STATS_INTERVAL_MS = 500;
/** Those that cannot wait for it are sent at most so often. */
const URGENT_STATS_MS = 100;
/** How often a draining process looks whether it is done. */
const DRAIN_POLL_MS = 20;

/** What a collector that does not answer may hold up our end. */
const LAST_SPANS_MS = 1_000;

type StartMessage = Extract<ToProxy, { type: 'start' }>;

export function runProxy(): void {
  // A young generation this small is collected in 0.2 ms: waking other threads for it costs more than they save (4 % of a
  // request's CPU).
  setFlagsFromString('--no-parallel-scavenge');
  const send = (message: FromProxy): void => {
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  let data: Promise<DataPlane> | null = null;

  process.on('message', (value: unknown, handle: unknown) => {
    const message = parseToProxy(value);
    if (message === null) return;
    if (message.type === 'start') {
      if (message.build !== VERSION) {
        process.stderr.write(`proxy: this process is ${VERSION}, its control plane ${message.build}\n`);
        process.exit(1);
      }
      data = startDataPlane(message, send);
      void data.then(() => send({ type: 'started' }));
    } else {
      // In their order, also those that come while it starts.
      void data?.then(({ receive }) => receive(message, handle));
    }
  });
  // Without its control plane a proxy must not go on: the next one could not take the ports.
  process.on('disconnect', () => process.exit(0));
  // The control plane decides when proxies stop; a terminal's Ctrl-C goes to it alone.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  send({ type: 'hello', build: VERSION });
}

async function startDataPlane(start: StartMessage, send: (message: FromProxy) => void): Promise<DataPlane> {
  const tracing = start.tracing === null ? null : await loadTracing(start.tracing);
  // Kept for the next one to start, while the folder may still be written.
  flushCompileCache();
  dropPrivileges(start);
  return createDataPlane(start, send, tracing);
}

/** All code is loaded by now: after this a 0700 checkout cannot be read any more. */
function dropPrivileges({ identity }: StartMessage): void {
  if (identity === null) return;
  // @types/node does not know it.
  const initgroups: unknown = Reflect.get(process, 'initgroups');
  if (typeof initgroups !== 'function' || process.setgid === undefined || process.setuid === undefined) return;
  initgroups.call(process, identity.uid, identity.gid);
  process.setgid(identity.gid);
  process.setuid(identity.uid);
  if (process.getuid?.() !== identity.uid) throw new Error('dropping privileges had no effect');
}

interface DataPlane {
  receive(message: Exclude<ToProxy, StartMessage>, handle: unknown): void;
}

function createDataPlane(
  start: StartMessage,
  send: (message: FromProxy) => void,
  createTracing: ((log: Logger) => Tracing) | null,
): DataPlane {
  const lines = createLogPipe(LOG_FD);
  const log: Logger = createLogger(
    { ...start.log, write: (line) => lines.write(Buffer.from(line), 1) },
    { proxy: start.slot },
  );
  let accessFile: LogFile | null = null;
  const tracing = createTracing?.(log) ?? null;
  let access: AccessLogOptions = { format: start.log.format, sample: 1, sink: lines };
  const accessLog = createAccessLog(() => access);
  const clock = createClock();
  const parts: { -readonly [Name in PartName]: Parts[Name] } = {
    sites: { sites: [] },
    certificates: { certificates: [], pending: {} },
    challenges: { http01: {}, tlsAlpn01: {} },
    upstreams: { services: [] },
    ticket_keys: { key: randomBytes(48).toString('base64'), affinityKey: randomBytes(32).toString('base64') },
    limits: {
      entrypoints: [],
      accessLog: null,
      trustedProxies: [],
      forwardedHeader: false,
      requestIdHeader: true,
      errorPages: {},
    },
  };
  const entrypoints = new Map<string, Entrypoint>();
  let certificates = createCertificateIndex(parts.certificates);
  let ticketKey = Buffer.from(parts.ticket_keys.key, 'base64');
  const counter = createRequestCounter();
  let router: Router = createRouter(parts.sites, parts.certificates.pending, counter.row);
  const challenges = createChallenges({ ask: send, now: clock.now });
  let isTrusted = createAddressSet([]);
  const affinity = createAffinitySource(() => parts.ticket_keys.affinityKey);
  let services = new Map<string, Service>();
  let targets = new Map<string, Target>();
  const leaving = new Map<string, Target>();
  /** How long streams may go on at them. */
  const streamsMs = new Map<Target, number>();
  let draining = false;

  const front: Front = {
    get router() {
      return router;
    },
    challenges,
    get services() {
      return services;
    },
    get isTrusted() {
      return isTrusted;
    },
    get writesForwarded() {
      return parts.limits.forwardedHeader;
    },
    get tellsRequestId() {
      return parts.limits.requestIdHeader;
    },
    get errorPages() {
      return parts.limits.errorPages;
    },
    get accessLog() {
      return parts.limits.accessLog === null ? null : accessLog;
    },
    get draining() {
      return draining;
    },
    clock,
    unsent: new UnsentBudget(clock.now),
    requests: 0,
    inFlight: 0,
    lost: createLostRequests(send),
    nextRequestId: createRequestIds(),
    traceparents: createTraceparents(),
    tracing,
    counter,
    released: (target) => {
      leaving.delete(target.id);
      streamsMs.delete(target);
      send({ type: 'released', target: target.id });
    },
    streamAtRemoved: (target) => endStreams(target, streamsMs.get(target) ?? 0),
    targetFailed: (target) => void send({ type: 'target_failed', target: target.id }),
  };

  let statsAt = 0;
  const sendStats = (): void => {
    const now = clock.now();
    statsAt = now;
    const targetStats: Record<string, TargetStats> = {};
    for (const target of [...targets.values(), ...leaving.values()]) {
      if (target.requests > 0 || target.inFlight > 0) targetStats[target.id] = target.stats(now);
    }
    const serviceStats: Record<string, ServiceStats> = {};
    for (const [name, service] of services) serviceStats[name] = service.stats(now);
    const entrypointStats = Object.fromEntries([...entrypoints].map(([name, one]) => [name, one.stats()]));
    const connections = [...entrypoints.values()].reduce((sum, entrypoint) => sum + entrypoint.connections, 0);
    const { requests, inFlight } = front;
    const droppedLines = lines.dropped + (accessFile?.dropped ?? 0);
    send({
      type: 'stats',
      connections,
      requests,
      inFlight,
      droppedLines,
      targets: targetStats,
      services: serviceStats,
      entrypoints: entrypointStats,
      requestCounts: counter.take(),
    });
  };
  let urgent = false;
  /** Who decides how many workers there are should know at once. */
  const sendUrgently = (): void => {
    if (urgent) return;
    urgent = true;
    const later = setTimeout(
      () => {
        urgent = false;
        sendStats();
      },
      Math.max(0, statsAt + URGENT_STATS_MS - clock.now()),
    );
    later.unref();
  };

  const applyUpstreams = ({ services: entries }: Parts['upstreams']): void => {
    const nextServices = new Map<string, Service>();
    const nextTargets = new Map<string, Target>();
    const updates: (() => void)[] = [];
    for (const entry of entries) {
      const list = entry.targets.map((targetEntry) => {
        const { id } = targetEntry;
        const target = targets.get(id) ?? leaving.get(id) ?? new Target(targetEntry, clock.now());
        target.update(targetEntry, entry);
        target.removed = false;
        leaving.delete(id);
        nextTargets.set(id, target);
        return target;
      });
      const service = services.get(entry.name) ?? new Service(entry, clock, affinity, sendUrgently);
      nextServices.set(entry.name, service);
      updates.push(() => service.update(entry, list));
    }
    const msOf = new Map<Target, number>();
    for (const service of services.values()) {
      const ms = (nextServices.get(service.entry.name) ?? service).entry.streamsMs;
      for (const target of service.targets) msOf.set(target, ms);
    }
    const gone = [...targets.values()].filter((target) => !nextTargets.has(target.id));
    const closed = [...services.values()].filter((service) => nextServices.get(service.entry.name) !== service);
    services = nextServices;
    targets = nextTargets;
    // Requests that waited go out here, so all must be in place.
    for (const update of updates) update();
    for (const service of closed) service.close();
    for (const target of gone) {
      target.removed = true;
      target.closeIdle();
      if (target.inFlight === 0) {
        front.released(target);
        continue;
      }
      leaving.set(target.id, target);
      streamsMs.set(target, msOf.get(target) ?? 0);
      endStreams(target, msOf.get(target) ?? 0);
    }
  };

  const logTo = (target: Parts['limits']['accessLog']): void => {
    const path = target?.file ?? null;
    if (accessFile?.path !== path && (accessFile !== null || path !== null)) {
      accessLog.flush();
      accessFile?.close();
      accessFile =
        path === null ? null : createLogFile(path, (error) => log.error('access_log_failed', { file: path, error }));
    }
    const format = target?.format ?? 'auto';
    access = {
      format: format === 'auto' ? start.log.format : format,
      sample: target?.sample ?? 1,
      sink: accessFile ?? lines,
    };
  };

  const applyLimits = (limits: Parts['limits']): void => {
    logTo(limits.accessLog);
    isTrusted = createAddressSet(limits.trustedProxies);
    for (const entry of limits.entrypoints) {
      const known = entrypoints.get(entry.name);
      if (known !== undefined && known.entry.limits.tls === entry.tls) {
        known.entry.limits = entry;
      } else {
        known?.unlisten();
        const options = { limits: entry, front, certificates: () => certificates, ticketKey: () => ticketKey, log };
        entrypoints.set(entry.name, createEntrypoint(options));
      }
    }
    for (const [name, entrypoint] of entrypoints) {
      if (limits.entrypoints.some((entry) => entry.name === name)) continue;
      entrypoint.unlisten();
      entrypoint.drain();
      entrypoints.delete(name);
    }
  };

  const apply = (message: Extract<ToProxy, { type: 'apply' }>): void => {
    const { part } = message;
    // The build is the same on both sides, so a part's name says its type.
    Object.assign(parts, { [part]: message.value });
    if (part === 'limits') applyLimits(parts.limits);
    else if (part === 'upstreams') applyUpstreams(parts.upstreams);
    else if (part === 'ticket_keys') {
      ticketKey = Buffer.from(parts.ticket_keys.key, 'base64');
      for (const entrypoint of entrypoints.values()) entrypoint.setTicketKeys(ticketKey);
    } else if (part === 'challenges') {
      challenges.apply(parts.challenges);
    } else {
      if (part === 'certificates') {
        certificates = createCertificateIndex(parts.certificates, certificates);
        for (const entrypoint of entrypoints.values()) entrypoint.certificatesChanged();
      }
      if (part === 'sites') counter.keep(parts.sites.sites.map(({ name }) => name));
      router = createRouter(parts.sites, parts.certificates.pending, counter.row);
    }
    send({ type: 'applied', part, version: message.version });
  };

  const drain = (graceMs: number): void => {
    draining = true;
    const deadline = clock.now() + graceMs;
    for (const entrypoint of entrypoints.values()) {
      entrypoint.unlisten();
      entrypoint.drain();
    }
    const poll = setInterval(() => {
      const open = [...entrypoints.values()].reduce((sum, entrypoint) => sum + entrypoint.connections, 0);
      if (open > 0 && clock.now() < deadline) return;
      clearInterval(poll);
      for (const entrypoint of entrypoints.values()) entrypoint.destroy();
      accessLog.flush();
      void Promise.all([
        accessFile?.flushed(),
        lines.flushed(),
        within(tracing?.flushed() ?? Promise.resolve(), LAST_SPANS_MS, undefined),
      ]).then(() => send({ type: 'drained' }));
    }, DRAIN_POLL_MS);
  };

  setInterval(sendStats, STATS_INTERVAL_MS).unref();

  return {
    receive: (message, handle) => {
      switch (message.type) {
        case 'apply':
          return apply(message);
        case 'listen': {
          const { entrypoint, slot } = message;
          entrypoints
            .get(entrypoint)
            ?.listen(slot, handle)
            .then(
              () => send({ type: 'listening', entrypoint, slot }),
              () => {},
            );
          return;
        }
        case 'unlisten':
          return entrypoints.get(message.entrypoint)?.unlisten(message.slot);
        case 'challenge_found':
          return challenges.found(message.id, message.answer);
        case 'reopen_logs':
          accessLog.flush();
          return accessFile?.reopen();
        case 'drain':
          return drain(message.graceMs);
      }
    },
  };
}
