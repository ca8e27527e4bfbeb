/** All services of a configuration: launched ones under a supervisor, given ones under health checks; as one set of targets. */
import type { ServiceConfig } from '../config/config.ts';
import type { Logger } from '../log.ts';
import type { Identity, TargetEntry, TargetStats } from '../snapshot.ts';
import type { Guard } from '../workers/guard.ts';
import type { GroupUsage } from '../workers/process_usage.ts';
import type { WorkerRecords } from '../workers/records.ts';
import { planCommand } from '../workers/presets.ts';
import { createSupervisor } from '../workers/supervisor.ts';
import type { RollResult, Supervisor, WorkerStatus } from '../workers/supervisor.ts';
import type { WorkerIdentity } from '../workers/exec_chain.ts';
import { launchWarnings } from '../workers/launch.ts';
import type { LaunchedService } from '../workers/launch.ts';
import type { ServiceState } from '../workers/states.ts';
import { needsOtherWorkers } from './reload.ts';
import { createUpstreamChecks } from '../workers/upstream_checks.ts';
import type { UpstreamChecks } from '../workers/upstream_checks.ts';
import { workerIdentity } from './identity.ts';
import type { Chosen } from './identity.ts';
import type { ServiceTargets } from './parts.ts';

export interface ServicesOptions {
  readonly runtimeDirectory: string;
  readonly stateDirectory: string;
  readonly proxyIdentity: Identity | null;
  readonly guard: Guard;
  readonly records: WorkerRecords;
  readonly log: Logger;
  /** The targets of some service changed. */
  readonly onChange: () => void;
  /** Resolves when the target is out of balancing and no request is on it. */
  readonly release: (targetId: string) => Promise<void>;
  /** What proxies tell of a target; null: nothing yet. */
  readonly stats: (targetId: string) => TargetStats | null;
  /** Whether the kernel has killed this process, that has just ended, for want of memory. */
  readonly outOfMemory: (pid: number) => boolean;
  /** What a process group holds and takes; null: not known. */
  readonly usage: (group: number) => GroupUsage | null;
}

export interface RunningService {
  readonly config: ServiceConfig;
  targets(): ServiceTargets;
  /** Workers and upstreams that can be asked, also those nobody asks because they serve nothing. */
  readyCount(): number;
  /** null: it only has upstreams. */
  state(): ServiceState | null;
  workers(): readonly WorkerStatus[];
  /** What its workers run, as it may be shown, its placeholders not filled in; null: it only has upstreams. */
  command(): readonly string[] | null;
  reportFailure(targetId: string): void;
  /** Becomes what `next` says, its workers one after the other, or stays as it was and says why. */
  update(next: ServiceConfig): Promise<RollResult>;
  /** Replaces all workers by others of the same definition; those that were given up are tried again. */
  restart(): Promise<RollResult>;
  /** So many workers, until the next update; null: as many as are configured. */
  scale(count: number | null): Promise<void>;
  /** What visitors are told while requests wait or are sent away; null: neither. */
  held(): Hold | null;
  /** Requests wait until `resume`, as long as `queue` lets them; those under way go on. */
  pause(message: string): void;
  resume(): void;
  /** Ends its workers; requests are sent away until `start`, also over a reload. */
  halt(): Promise<void>;
  /** Resolves when a worker is ready, or the first could not be started: then it is tried again and again. */
  start(): Promise<RollResult>;
  stop(graceMs: number): Promise<void>;
}

export interface Hold {
  readonly admission: 'paused' | 'stopped';
  readonly message: string;
}

export function startService(initial: ServiceConfig, options: ServicesOptions): RunningService {
  let config = initial;
  const proxyGid = options.proxyIdentity?.gid ?? null;
  const log = options.log.with({ service: config.name });
  let supervisor: Supervisor | null = null;
  let held: Hold | null = null;
  let nextChange = Promise.withResolvers<void>();
  const onChange = (): void => {
    const waited = nextChange;
    nextChange = Promise.withResolvers();
    waited.resolve();
    options.onChange();
  };
  let checks: UpstreamChecks | null = null;

  const chooseIdentity = (service: ServiceConfig): Chosen<WorkerIdentity | null> =>
    workerIdentity(service, process.execPath, {
      proxies: options.proxyIdentity,
      stateDirectory: options.stateDirectory,
    });
  /** Once for each definition, before any of its workers: also a user nobody knows is told then. */
  const announce = (service: LaunchedService): void => {
    const { identity, warning } = chooseIdentity(service);
    if (warning !== null) log.warn('worker_identity', { warning });
    log.info('worker_command', { command: planCommand(service).shown });
    for (const told of launchWarnings({ service, identity, proxyGid })) log.warn('worker_command', { warning: told });
  };
  const startSupervisor = (service: LaunchedService): Supervisor => {
    announce(service);
    return createSupervisor({
      service,
      runtimeDirectory: options.runtimeDirectory,
      identityOf: (one) => chooseIdentity(one).identity,
      proxyGid,
      guard: options.guard,
      records: options.records,
      log,
      onChange,
      release: options.release,
      stats: options.stats,
      outOfMemory: options.outOfMemory,
      usage: options.usage,
    });
  };
  const startChecks = (service: ServiceConfig): UpstreamChecks | null =>
    service.upstreams.length === 0 ? null : createUpstreamChecks({ service, log, onChange });

  const startAll = (): void => {
    if (isLaunched(config)) supervisor = startSupervisor(config);
    checks = startChecks(config);
  };
  const stopAll = async (graceMs: number): Promise<void> => {
    await Promise.all([supervisor?.stop({ graceMs }), checks?.stop()]);
  };
  startAll();

  const list = (): readonly TargetEntry[] => [...(supervisor?.targets() ?? []), ...(checks?.targets() ?? [])];
  /** Workers of ours where there were none, or none where there were. */
  const updateSupervisor = async (next: ServiceConfig): Promise<RollResult> => {
    const before = supervisor;
    if (!isLaunched(next)) {
      supervisor = null;
      void before?.stop({ graceMs: config.timeouts.drainMs + config.timeouts.stopMs });
      return { ok: true };
    }
    if (before === null) {
      supervisor = startSupervisor(next);
      return { ok: true };
    }
    const differs = needsOtherWorkers(config, next);
    if (differs) announce(next);
    const rolled = differs ? await before.roll(next) : adopted(before, next);
    if (rolled.ok) await before.scale(next.workers);
    return rolled;
  };

  return {
    get config() {
      return config;
    },
    targets: () => {
      const targets = list();
      if (held !== null) return { targets, admission: held.admission, unavailable: held.message };
      const unavailable = targets.some(({ healthy }) => healthy) ? null : reasonFor(supervisor);
      return { targets, admission: 'open', unavailable };
    },
    readyCount: () => {
      const workers = supervisor?.snapshot().filter(({ state }) => state === 'ready').length ?? 0;
      return workers + (checks?.targets().filter(({ healthy }) => healthy).length ?? 0);
    },
    state: () => supervisor?.state() ?? null,
    workers: () => supervisor?.snapshot() ?? [],
    command: () => (isLaunched(config) ? planCommand(config).shown : null),
    reportFailure: (id) => {
      supervisor?.reportFailure(id);
      checks?.reportFailure(id);
    },
    update: async (next) => {
      if (held?.admission === 'stopped') {
        config = next;
        return { ok: true };
      }
      const result = await updateSupervisor(next);
      if (!result.ok) return result;
      const old = checks;
      checks = startChecks(next);
      config = next;
      await old?.stop();
      onChange();
      return result;
    },
    restart: async () => {
      if (held?.admission === 'stopped') return { ok: false, reason: 'it is stopped: proxy start', output: [] };
      if (supervisor === null || !isLaunched(config))
        return { ok: false, reason: 'it has no workers of ours', output: [] };
      supervisor.retryNow();
      return supervisor.roll(config, 'operator');
    },
    scale: async (count) => supervisor?.scale(count ?? config.workers),
    held: () => held,
    pause: (message) => {
      if (held?.admission === 'stopped') return;
      held = { admission: 'paused', message };
      onChange();
    },
    resume: () => {
      if (held?.admission !== 'paused') return;
      held = null;
      onChange();
    },
    halt: async () => {
      held = { admission: 'stopped', message: 'the service is stopped' };
      await stopAll(config.timeouts.drainMs + config.timeouts.stopMs);
    },
    start: async () => {
      if (held?.admission === 'stopped') {
        held = null;
        startAll();
        onChange();
      }
      for (;;) {
        const changed = nextChange.promise;
        const workers = supervisor?.snapshot() ?? [];
        if (workers.length === 0 || workers.some(({ state }) => state === 'ready')) return { ok: true };
        if (held?.admission === 'stopped') return { ok: false, reason: 'it was stopped meanwhile', output: [] };
        const failed = workers.find(({ state }) => state === 'backoff' || state === 'fatal');
        if (failed !== undefined) return { ok: false, reason: failed.lastExit ?? 'no worker is ready', output: [] };
        await changed;
      }
    },
    stop: stopAll,
  };
}

function isLaunched(service: ServiceConfig): service is LaunchedService {
  return service.command !== null;
}

function adopted(supervisor: Supervisor, next: LaunchedService): RollResult {
  supervisor.adopt(next);
  return { ok: true };
}

/** Why nothing is ready, for the client's 503: what a visitor may know and an operator can act on. */
function reasonFor(supervisor: Supervisor | null): string {
  if (supervisor === null) return 'no upstream is healthy';
  const states = supervisor.snapshot().map(({ state }) => state);
  if (states.includes('starting')) return 'the app is starting';
  if (states.includes('fatal')) return 'the app does not run, and is tried once a minute';
  if (states.includes('backoff')) return 'the app ended and is being restarted';
  return 'no worker is ready';
}
