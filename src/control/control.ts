/**
 * The control plane's composition root: it decides what should be true and tells the proxies. Everything here is the same
 * three steps: change what is known, publish the part, await the acknowledgements.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync } from 'node:fs';
import { startAdminServer } from './admin.ts';
import type { AdminServer } from './admin.ts';
import { createApi } from './api.ts';
import type { ControlPlane, ReloadOutcome } from './api.ts';
import { proxyIdentity } from './identity.ts';
import { bindListener, ListenError } from './listeners.ts';
import type { Listener } from './listeners.ts';
import { limitsPart, sitesPart, upstreamsPart } from './parts.ts';
import { createProxyPool } from './proxies.ts';
import { startService } from './services.ts';
import type { RunningService } from './services.ts';
import { createRenewer } from '../certificates/renewer.ts';
import { loadConfig } from '../config/load.ts';
import type { Config, EntrypointConfig, ServiceConfig } from '../config/config.ts';
import type { LogFormat, Logger } from '../log.ts';
import type { Identity } from '../snapshot.ts';
import { createGuard } from '../workers/guard.ts';
import { lockRuntimeDirectory } from '../workers/records.ts';
import type { RuntimeLock } from '../workers/records.ts';

/** Of the grace period: what requests get to end; the rest is for the workers. */
const PROXIES_SHARE = 0.8;

export interface ControlPlaneOptions {
  readonly config: Config;
  /** renew: nothing is served or renewed but what is asked for. */
  readonly purpose?: 'serve' | 'renew';
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  readonly logFormat: LogFormat;
  readonly writeLines: (lines: string, dropped: number) => void;
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
  const lock = takeRuntime(config.runtimeDirectory, log);
  const guard = createGuard();
  let listeners: readonly Listener[];
  try {
    listeners = await bindAll(config.entrypoints, config.proxyProcesses);
  } catch (error) {
    await guard.close();
    lock.release();
    throw error;
  }

  const services = new Map<string, RunningService>();
  let stopping: Promise<void> | null = null;
  const ended = Promise.withResolvers<void>();

  const pool = createProxyPool({
    count: config.proxyProcesses,
    command: options.proxyCommand,
    env: definedOnly(env),
    identity,
    log,
    proxyLog: { level: config.logging.level, format: options.logFormat },
    writeLines: options.writeLines,
    guard,
    onTargetFailed: (target) => {
      for (const service of services.values()) service.reportFailure(target);
    },
  });

  const publishUpstreams = (): Promise<void> =>
    pool.publish(
      'upstreams',
      upstreamsPart(
        [...services.values()].map((service) => service.config),
        (name) => services.get(name)?.targets() ?? { targets: [], unavailable: 'the service is not known here' },
      ),
    );

  const run = (service: ServiceConfig): RunningService =>
    startService(service, {
      runtimeDirectory: config.runtimeDirectory,
      proxyIdentity: identity,
      guard,
      records: lock,
      log,
      onChange: () => void publishUpstreams(),
      release: async (target) => {
        await publishUpstreams();
        await pool.released(target);
      },
    });

  const tokens = new Map<string, string>();
  const publishChallenges = (): Promise<void> => pool.publish('challenges', { http01: Object.fromEntries(tokens) });
  const renewer = createRenewer({
    sites: config.sites,
    acme: config.acme,
    stateDirectory: config.stateDirectory,
    solver: {
      arm: async (token, keyAuthorization) => {
        tokens.set(token, keyAuthorization);
        await publishChallenges();
      },
      disarm: async (token) => {
        tokens.delete(token);
        await publishChallenges();
      },
    },
    publish: (certificates, pending) => pool.publish('certificates', { certificates, pending }),
    log,
  });

  pool.setListeners(listeners);
  void pool.publish('limits', limitsPart(config));
  void pool.publish('ticket_keys', { key: randomBytes(48).toString('base64') });
  void pool.publish('challenges', { http01: {} });
  for (const service of config.services) services.set(service.name, run(service));
  void publishUpstreams();
  await renewer.load();
  void pool.publish('sites', sitesPart(config));
  await pool.start();

  const applyConfig = async (next: Config): Promise<Extract<ReloadOutcome, { ok: true }>> => {
    const notReloaded = fixedKeys(config, next);
    const changes: string[] = [];
    // Whatever can fail comes first, so that a failure changes nothing.
    const opened = await bindChanged(listeners, config, next);
    const before = config;
    config = next;

    const retired: RunningService[] = [];
    const started: RunningService[] = [];
    for (const service of next.services) {
      const running = services.get(service.name);
      if (running !== undefined && same(running.config, service)) continue;
      changes.push(`service ${service.name} ${running === undefined ? 'added' : 'changed'}`);
      const replacement = run(service);
      started.push(replacement);
      // Ready-first: the old workers serve until the new ones can.
      if (running === undefined || (await replacement.untilReady())) {
        services.set(service.name, replacement);
        if (running !== undefined) retired.push(running);
      } else {
        void replacement.stop(0);
        log.error('service_not_replaced', { service: service.name, reason: 'its new workers did not become ready' });
        changes.pop();
        changes.push(`service ${service.name} NOT changed: its new workers did not become ready`);
      }
    }
    for (const [name, running] of services) {
      if (next.services.some((service) => service.name === name)) continue;
      changes.push(`service ${name} removed`);
      services.delete(name);
      retired.push(running);
    }
    if (!same(before.sites, next.sites)) changes.push('sites changed');
    if (!same(before.acme, next.acme)) changes.push('acme changed');
    if (!same(before.entrypoints, next.entrypoints)) changes.push('entrypoints changed');
    if (!same(before.logging, next.logging)) changes.push('logging changed');

    const closed = listeners.filter((listener) => !opened.includes(listener));
    listeners = opened;
    await publishUpstreams();
    await pool.publish('limits', limitsPart(next));
    await renewer.setSites(next.sites, next.acme);
    await pool.publish('sites', sitesPart(next));
    pool.setListeners(listeners);
    for (const listener of closed) listener.close();
    // Retired services are out of balancing since publishUpstreams; their workers end when their requests have.
    for (const service of retired) void service.stop(service.config.timeouts.drainMs + service.config.timeouts.stopMs);
    return { ok: true, changes, notReloaded };
  };

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
    renewer,
    startedAt,
    reload: () => {
      const outcome = reloading.then(async (): Promise<ReloadOutcome> => {
        const loaded = loadConfig({ file: config.file, env });
        if (!loaded.ok) {
          log.error('reload_refused', { file: config.file, problems: loaded.problems.length });
          return loaded;
        }
        try {
          const result = await applyConfig(loaded.config);
          log.info('reloaded', { changes: result.changes, not_reloaded: result.notReloaded });
          return result;
        } catch (error) {
          if (!(error instanceof ListenError)) throw error;
          log.error('reload_refused', { file: config.file, error });
          const place = { file: config.file, line: 1, column: 1, path: 'entrypoints' };
          return { ok: false, problems: [{ ...place, message: error.message }] };
        }
      });
      reloading = outcome.catch(() => {});
      return outcome;
    },
    stop: (reason) => {
      stopping ??= (async () => {
        const graceMs = config.shutdown.gracePeriodMs;
        const begun = Date.now();
        log.info('stopping', { reason, grace_ms: graceMs });
        renewer.stop();
        await pool.stop(graceMs * PROXIES_SHARE);
        for (const listener of listeners) listener.close();
        const left = Math.max(0, graceMs - (Date.now() - begun));
        await Promise.all([...services.values()].map((service) => service.stop(left)));
        await admin[Symbol.asyncDispose]();
        await guard.close();
        lock.release();
        log.info('stopped', { after_ms: Date.now() - begun });
        ended.resolve();
      })();
      return ended.promise;
    },
    stopped: ended.promise,
  };
  if (options.purpose !== 'renew') renewer.start();
  const admin: AdminServer = await startAdminServer(config.admin.socket, createApi(plane), log);
  return plane;
}

/** Folders and rights the proxies need; returns their identity. */
function prepareRuntime(config: Config, log: Logger): Identity | null {
  try {
    // Others may pass, to the sockets they have a right to; they cannot list.
    mkdirSync(config.runtimeDirectory, { recursive: true, mode: 0o711 });
    if (process.getuid?.() === 0) chmodSync(config.runtimeDirectory, 0o711);
  } catch (error) {
    throw new StartError(`runtime_directory ${config.runtimeDirectory} cannot be used: ${String(error)}`);
  }
  const { identity, warning } = proxyIdentity(config.user, config.group, config.runtimeDirectory);
  if (warning !== null) log.warn('proxy_identity', { warning });
  return identity;
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

async function bindAll(entrypoints: readonly EntrypointConfig[], slots: number): Promise<readonly Listener[]> {
  const bound: Listener[] = [];
  try {
    for (const entrypoint of entrypoints) bound.push(await bindListener(entrypoint, slots));
    return bound;
  } catch (error) {
    for (const listener of bound) listener.close();
    throw error;
  }
}

/** The listeners of `next`: those already open stay, the others are bound. */
async function bindChanged(current: readonly Listener[], before: Config, next: Config): Promise<readonly Listener[]> {
  const kept = new Map<string, Listener>();
  for (const { name, host, port, tls } of next.entrypoints) {
    const old = before.entrypoints.find((entrypoint) => entrypoint.name === name);
    const listener = current.find((candidate) => candidate.name === name);
    if (old?.host === host && old.port === port && old.tls === tls && listener !== undefined) kept.set(name, listener);
  }
  const missing = next.entrypoints.filter(({ name }) => !kept.has(name));
  const bound = await bindAll(missing, before.proxyProcesses);
  return next.entrypoints.flatMap(
    ({ name }) => kept.get(name) ?? bound.find((listener) => listener.name === name) ?? [],
  );
}

/** Keys that only a new start can change, of those that differ. */
function fixedKeys(before: Config, next: Config): string[] {
  const keys: readonly (readonly [string, unknown, unknown])[] = [
    ['user', before.user, next.user],
    ['group', before.group, next.group],
    ['runtime_directory', before.runtimeDirectory, next.runtimeDirectory],
    ['storage.root', before.stateDirectory, next.stateDirectory],
    ['proxy_processes', before.proxyProcesses, next.proxyProcesses],
    ['admin.socket', before.admin.socket, next.admin.socket],
    ['logging.level', before.logging.level, next.logging.level],
    ['logging.format', before.logging.format, next.logging.format],
  ];
  return keys.filter(([, a, b]) => a !== b).map(([key]) => key);
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [key, value] of Object.entries(env)) if (value !== undefined) out[key] = value;
  return out;
}
