/**
 * The control plane's composition root: it decides what should be true and tells the proxies. Everything here is the same
 * three steps: change what is known, publish the part, await the acknowledgements.
 */
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { AccessFileError, prepareAccessFile } from './access_file.ts';
import { startAdminServer } from './admin.ts';
import type { AdminServer } from './admin.ts';
import { createApi } from './api.ts';
import type { ControlPlane, ReloadOutcome, Reloads } from './plane.ts';
import { readCounters } from './dashboard/counters.ts';
import { dashboardPages } from './dashboard/dashboard.ts';
import { keepHistory } from './dashboard/history.ts';
import type { History } from './dashboard/history.ts';
import { IdentityError, proxyIdentity } from './identity.ts';
import { judgeHealth } from './health.ts';
import { inheritSockets, matchSocket } from './inherited.ts';
import { bindListeners, ListenError, rebindListeners } from './listeners.ts';
import type { Listener } from './listeners.ts';
import { createLostRequestsLog } from './lost_requests.ts';
import { createPages } from './metrics/pages.ts';
import { startMetricsServer } from './metrics/server.ts';
import type { MetricsServer, Pages } from './metrics/server.ts';
import { connectionsWithin, openFilesLimit } from './open_files.ts';
import { limitsPart, sitesPart, upstreamsPart } from './parts.ts';
import type { ServiceTargets } from './parts.ts';
import { createMachineStatus } from './machine_status.ts';
import { createProxyPool } from './proxies.ts';
import type { LogWriter } from './log_writer.ts';
import { createRecentEvents } from './recent_events.ts';
import type { RecentEvents } from './recent_events.ts';
import { planReload } from './reload.ts';
import { servedLeaf } from './served.ts';
import { startService } from './services.ts';
import { statusJson } from './status.ts';
import type { RunningService } from './services.ts';
import { createTicketKeys } from './ticket_keys.ts';
import { watchZombies } from './zombies.ts';
import { createCertificates } from '../certificates/certificates.ts';
import { createAnswerBoard } from '../certificates/solvers/answer_board.ts';
import { findAnswer } from '../certificates/solvers/kept_answers.ts';
import { createFileStorage } from '../certificates/storage/file_storage.ts';
import { formatProblem } from '../config/load.ts';
import type { Loaded } from '../config/load.ts';
import type { Config, MetricsConfig, ServiceConfig } from '../config/config.ts';
import { sleep } from '../lifecycle.ts';
import type { LogFormat, Logger } from '../log.ts';
import type { Identity } from '../snapshot.ts';
import { createWorkerCgroups } from '../workers/cgroups.ts';
import { createGuard } from '../workers/guard.ts';
import { watchOutOfMemory } from '../workers/out_of_memory.ts';
import { createGroupUsages } from '../workers/process_usage.ts';
import { createReleases } from '../workers/releases.ts';
import { lockRuntimeDirectory } from '../workers/records.ts';
import type { RuntimeLock } from '../workers/records.ts';

/** In the runtime directory: compiled code, for proxies to start with. */
const CODE_CACHE = 'code';
/** Of the grace period: what requests get to end; the rest is for the workers. */
const PROXIES_SHARE = 0.8;

const UNKNOWN_SERVICE: ServiceTargets = {
  targets: [],
  admission: 'stopped',
  unavailable: 'the service is not known here',
};

export interface ControlPlaneOptions {
  readonly config: Config;
  /** The configuration as it is now written. */
  readonly reread: () => Loaded;
  /** renew: nothing is served or renewed but what is asked for. */
  readonly purpose?: 'serve' | 'renew';
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  readonly logFormat: LogFormat;
  /** What `log` was told last; none without. */
  readonly events?: RecentEvents;
  /** Where the proxies' lines go, beside our own. */
  readonly logWriter: LogWriter;
  /** How to start a process of ours: executable and arguments. */
  readonly proxyCommand: readonly string[];
}

/** What cannot start, in one line for the operator. */
export class StartError extends Error {}

export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { env, log } = options;
  let { config } = options;
  const startedAt = Date.now();
  const identity = prepareRuntime(config, log);
  prepareAccessFile(config.logging, identity);
  const lock = takeRuntime(config.runtimeDirectory, log);
  // Before any process of ours is started: they are where we are.
  const cgroups = createWorkerCgroups(log);
  const guard = createGuard();
  let pages: Pages | null = null;
  const openMetrics = async (at: MetricsConfig | null): Promise<MetricsServer | null> =>
    at === null || options.purpose === 'renew' ? null : startMetricsServer(at, () => pages, log);
  const inherited = inheritSockets(env);
  for (const { name, host, port } of inherited.filter(
    (socket) => !config.entrypoints.some((entry) => matchSocket([socket], entry)),
  )) {
    // Whoever connects to it waits until it is taken out of where it came from.
    log.warn('inherited_socket_unused', { name, host, port });
  }
  let listeners: readonly Listener[] = [];
  let metrics: MetricsServer | null;
  try {
    listeners = await bindListeners(config.entrypoints, config.proxyProcesses, inherited);
    metrics = await openMetrics(config.metrics);
  } catch (error) {
    for (const listener of listeners) listener.close();
    await guard.close();
    lock.release();
    throw error;
  }

  const storage = createFileStorage(config.stateDirectory);
  const stopped = new AbortController();
  const outOfMemory = watchOutOfMemory(stopped.signal);
  const zombies = watchZombies(process.pid, log, stopped.signal);
  const usages = createGroupUsages();
  const releases = createReleases(storage, log);
  const services = new Map<string, RunningService>();
  let stopping: Promise<void> | null = null;
  const idle = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();

  const lost = createLostRequestsLog({ log });
  const pool = createProxyPool({
    count: config.proxyProcesses,
    command: options.proxyCommand,
    // With it a proxy starts in 110 ms of CPU time instead of 270.
    env: { ...definedOnly(env), NODE_COMPILE_CACHE: path.join(config.runtimeDirectory, CODE_CACHE) },
    identity,
    log,
    tracing: config.tracing,
    proxyLog: { level: config.logging.level, format: options.logFormat },
    writeLines: options.logWriter.write,
    guard,
    outOfMemory: outOfMemory.recently,
    lost,
    onTargetFailed: (target) => {
      for (const service of services.values()) service.reportFailure(target);
    },
    // Strangers ask, too: what cannot be read is not worth a line for each of them.
    findChallenge: (challenge, key) => findAnswer(storage, challenge, key, Date.now()).catch(() => null),
  });

  const publishUpstreams = (): Promise<void> =>
    pool.publish(
      'upstreams',
      upstreamsPart(
        [...services.values()].map((service) => service.config),
        config.proxyProcesses,
        (name) => services.get(name)?.targets() ?? UNKNOWN_SERVICE,
      ),
    );

  const run = (service: ServiceConfig): RunningService =>
    startService(service, {
      runtimeDirectory: config.runtimeDirectory,
      stateDirectory: config.stateDirectory,
      proxyIdentity: identity,
      guard,
      cgroups,
      records: lock,
      releases,
      log,
      onChange: () => void publishUpstreams(),
      onExit: lost.exited,
      stats: (target) => pool.targetStats(target),
      outOfMemory: outOfMemory.recently,
      serviceStats: (name) => pool.serviceStats(name),
      usage: usages.of,
      release: async (target) => {
        await publishUpstreams();
        await pool.released(target);
      },
    });

  const board = createAnswerBoard((part) => pool.publish('challenges', part));
  const ticketKeys = createTicketKeys((part) => pool.publish('ticket_keys', part), stopped.signal);
  const certificates = createCertificates({
    config,
    storage,
    board,
    env,
    entrypoints: () => config.entrypoints,
    publish: (entries, pending) => pool.publish('certificates', { certificates: entries, pending }),
    servedLeaf: (name) => servedLeaf(name, config.entrypoints),
    rotateTicketKeys: ticketKeys.rotate,
    log,
  });

  pool.setListeners(listeners);
  const openFiles = openFilesLimit();
  const most = connectionsWithin(openFiles, config.entrypoints.length) * config.proxyProcesses;
  for (const { name, maxConnections } of config.entrypoints) {
    if (most < maxConnections) log.warn('few_open_files', { entrypoint: name, limit: openFiles, connections: most });
  }
  void pool.publish('limits', limitsPart(config, openFiles));
  void pool.publish('challenges', { http01: {}, tlsAlpn01: {} });
  for (const service of config.services) services.set(service.name, run(service));
  void publishUpstreams();
  await certificates.load({ issue: options.purpose !== 'renew' });
  void pool.publish('sites', sitesPart(config));
  await pool.start();

  /** All become what they should be, or all are what they were; null, or why. */
  const updateAll = async (changed: readonly ServiceConfig[]): Promise<string | null> => {
    const updates = changed.map(async (next) => {
      try {
        return (await services.get(next.name)?.update(next)) ?? { ok: true as const };
      } catch (error) {
        if (error instanceof IdentityError) return { ok: false as const, reason: error.message };
        throw error;
      }
    });
    const results = await Promise.all(updates);
    const failures = changed.flatMap(({ name }, i) => {
      const result = results[i];
      return result?.ok === false ? [{ name, reason: result.reason }] : [];
    });
    if (failures.length === 0) return null;
    const succeeded = changed.filter(({ name }) => !failures.some((failure) => failure.name === name));
    for (const { name } of succeeded) await services.get(name)?.revert();
    return failures.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  };

  const apply = async (next: Config): Promise<ReloadOutcome> => {
    const plan = planReload(
      config,
      [...services.values()].map((service) => service.config),
      next,
    );
    // What can fail comes first: the old listeners and workers serve until all the new ones are there.
    prepareAccessFile(next.logging, identity);
    const opened = await rebindListeners(
      listeners,
      config.entrypoints,
      next.entrypoints,
      config.proxyProcesses,
      inherited,
    );
    const sameMetrics = isSameAddress(config.metrics, plan.config.metrics);
    const openedMetrics = sameMetrics
      ? metrics
      : await openMetrics(plan.config.metrics).catch((error: unknown) => {
          for (const listener of opened) if (!listeners.includes(listener)) listener.close();
          throw error;
        });
    const { added, changed, removed } = plan.services;
    const started: RunningService[] = [];
    const giveUp = async (reason: string): Promise<ReloadOutcome> => {
      await Promise.all(started.map((service) => service.stop(0)));
      for (const listener of opened) if (!listeners.includes(listener)) listener.close();
      if (!sameMetrics) openedMetrics?.close();
      return { ok: false, reason, problems: [] };
    };
    try {
      for (const service of added) started.push(run(service));
    } catch (error) {
      if (error instanceof IdentityError) return giveUp(error.message);
      throw error;
    }
    const problem = await updateAll(changed);
    if (problem !== null) return giveUp(problem);
    const retired = removed.flatMap((name) => services.get(name) ?? []);
    for (const name of removed) services.delete(name);
    for (const service of started) services.set(service.config.name, service);
    const closed = listeners.filter((listener) => !opened.includes(listener));
    ({ config } = plan);
    listeners = opened;
    if (!sameMetrics) metrics?.close();
    metrics = openedMetrics;
    metrics?.setToken(config.metrics?.token ?? null);
    await publishUpstreams();
    await pool.publish('limits', limitsPart(config, openFiles));
    await certificates.setConfig(config);
    await pool.publish('sites', sitesPart(config));
    pool.setListeners(listeners);
    for (const listener of closed) listener.close();
    // Out of balancing since publishUpstreams; their workers end when their requests have.
    for (const service of retired) void service.stop(service.config.timeouts.drainMs + service.config.timeouts.stopMs);
    return { ok: true, changes: plan.changes, notReloaded: plan.notReloaded };
  };

  const reload = async (): Promise<ReloadOutcome> => {
    const loaded = options.reread();
    if (!loaded.ok) return { ok: false, reason: 'the file has problems', problems: loaded.problems };
    try {
      return await apply(loaded.config);
    } catch (error) {
      if (!(error instanceof ListenError || error instanceof AccessFileError)) throw error;
      return { ok: false, reason: error.message, problems: [] };
    }
  };

  let reloads: Reloads = { done: 0, refused: 0, lastDone: true, lastDoneAt: startedAt, problem: null };
  let history: History | null = null;
  let reloading: Promise<unknown> = Promise.resolve();
  const plane: ControlPlane = {
    get config() {
      return config;
    },
    get listeners() {
      return listeners;
    },
    services: () => [...services.values()],
    proxies: pool,
    certificates,
    startedAt,
    events: options.events ?? createRecentEvents(),
    zombies: zombies.count,
    droppedLogLines: () => options.logWriter.dropped + pool.droppedLines,
    reloads: () => reloads,
    sample: () => history?.samples().at(-1) ?? null,
    machine: createMachineStatus(config.stateDirectory),
    processUsage: usages.of,
    health: () =>
      judgeHealth({
        now: Date.now(),
        stopping: stopping !== null,
        proxies: pool.status(),
        // One an operator stopped is as it should be.
        services: [...services]
          .filter(([, service]) => service.held()?.admission !== 'stopped')
          .map(([name, service]) => ({ name, ready: service.readyCount() })),
      }),
    reload: () => {
      const outcome = reloading.then(reload).then((result) => {
        reloads = result.ok
          ? { ...reloads, done: reloads.done + 1, lastDone: true, lastDoneAt: Date.now(), problem: null }
          : { ...reloads, refused: reloads.refused + 1, lastDone: false, problem: problemOf(result) };
        if (result.ok) log.info('reloaded', { changes: result.changes, not_reloaded: result.notReloaded });
        else log.error('reload_refused', { reason: result.reason, problems: result.problems.map(formatProblem) });
        return result;
      });
      reloading = outcome.catch(() => {});
      return outcome;
    },
    reopenLogs: () => {
      try {
        prepareAccessFile(config.logging, identity);
        pool.reopenLogs();
        log.info('logs_reopened');
      } catch (error) {
        log.error('logs_not_reopened', { error });
      }
    },
    stop: (reason) => {
      stopping ??= (async () => {
        const { delayMs, gracePeriodMs: graceMs } = config.shutdown;
        log.info('stopping', { reason, delay_ms: delayMs, grace_ms: graceMs });
        // Those who send us traffic see that we are not ready, and go elsewhere before anything is refused.
        await sleep(delayMs);
        const begun = Date.now();
        stopped.abort();
        certificates.stop();
        const drained = pool.stop(graceMs * PROXIES_SHARE);
        // Proxies accept no more: a socket left open here would take connections that nobody answers.
        for (const listener of listeners) listener.close();
        await drained;
        const left = Math.max(0, graceMs - (Date.now() - begun));
        await Promise.all([...services.values()].map((service) => service.stop(left)));
        metrics?.close();
        idle.resolve();
        await admin[Symbol.asyncDispose]();
        await guard.close();
        lock.release();
        log.info('stopped', { after_ms: Date.now() - begun });
        ended.resolve();
      })();
      return ended.promise;
    },
    idle: idle.promise,
    stopped: ended.promise,
  };
  if (options.purpose !== 'renew') {
    history = keepHistory(() => readCounters(plane, Date.now()), log, stopped.signal);
    const dashboard = dashboardPages({ status: () => statusJson(plane), history, events: plane.events, log });
    pages = { ...createPages(plane), ...dashboard };
    certificates.start();
  }
  const admin: AdminServer = await startAdminServer(config.admin.socket, createApi(plane), log);
  return plane;
}

function problemOf({ reason, problems }: Extract<ReloadOutcome, { ok: false }>): string {
  return [reason, ...problems.slice(0, 1).map(formatProblem)].join(': ');
}

/** Folders and rights the proxies need; returns their identity. */
function prepareRuntime(config: Config, log: Logger): Identity | null {
  try {
    // Others may pass, to the sockets they have a right to; they cannot list.
    const made = mkdirSync(config.runtimeDirectory, { recursive: true, mode: 0o711 });
    // Whatever our umask; a folder that was there keeps the rights its owner gave it.
    if (made !== undefined) chmodSync(config.runtimeDirectory, 0o711);
    refuseExposed(config.runtimeDirectory);
    // Code from there is run before rights are dropped: nobody else may write it.
    mkdirSync(path.join(config.runtimeDirectory, CODE_CACHE), { recursive: true, mode: 0o700 });
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`runtime_directory ${config.runtimeDirectory} cannot be used: ${String(error)}`);
  }
  const { identity, warning } = proxyIdentity(config.user, config.group, config.runtimeDirectory);
  if (warning !== null) log.warn('proxy_identity', { warning });
  return identity;
}

/** Whoever can put files there could have us, or root, run them. */
function refuseExposed(directory: string): void {
  const stats = lstatSync(directory);
  const problem = stats.isSymbolicLink()
    ? 'is a symbolic link: give the folder it leads to'
    : (stats.mode & 0o022) !== 0
      ? `is writable for others: chmod go-w ${directory}`
      : ![0, process.geteuid?.()].includes(stats.uid)
        ? `belongs to user ${stats.uid}: it must be ours`
        : null;
  if (problem !== null) throw new StartError(`runtime_directory ${directory} ${problem}`);
}

function takeRuntime(directory: string, log: Logger): RuntimeLock {
  const outcome = lockRuntimeDirectory(directory);
  if (!outcome.ok) {
    throw new StartError(`runtime_directory ${directory} belongs to a running instance (${outcome.holder})`);
  }
  const reclaimed = outcome.lock.reclaim();
  if (reclaimed > 0) log.warn('workers_reclaimed', { process_groups: reclaimed });
  return outcome.lock;
}

function isSameAddress(a: MetricsConfig | null, b: MetricsConfig | null): boolean {
  return a?.host === b?.host && a?.port === b?.port;
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [key, value] of Object.entries(env)) if (value !== undefined) out[key] = value;
  return out;
}
