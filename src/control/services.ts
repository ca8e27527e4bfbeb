/** All services of a configuration: launched ones under a supervisor, given ones under health checks; as one set of targets. */
import type { ServiceConfig, Sizing } from '../config/config.ts';
import type { Logger } from '../log.ts';
import type { Identity, ServiceStats, TargetEntry, TargetStats } from '../snapshot.ts';
import { createAutoscaler } from '../workers/autoscaler.ts';
import type { ScaleEvent } from '../workers/autoscaler.ts';
import type { WorkerCgroups } from '../workers/cgroups.ts';
import type { Guard } from '../workers/guard.ts';
import type { GroupUsage } from '../workers/process_usage.ts';
import type { WorkerRecords } from '../workers/records.ts';
import { createDeployment } from '../workers/deployment.ts';
import type { Deployment, DeploymentStatus, DeployResult } from '../workers/deployment.ts';
import { planCommand } from '../workers/presets.ts';
import type { WorkerIdentity } from '../workers/exec_chain.ts';
import { launchWarnings } from '../workers/launch.ts';
import type { Releases } from '../workers/releases.ts';
import type { WorkerStatus } from '../workers/slots.ts';
import type { RollResult, Totals, WorkerExit } from '../workers/supervisor.ts';
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
  readonly cgroups: WorkerCgroups;
  readonly releases: Releases;
  readonly log: Logger;
  /** The targets of some service changed. */
  readonly onChange: () => void;
  readonly onExit: (exit: WorkerExit) => void;
  /** Resolves when the target is out of balancing and no request is on it. */
  readonly release: (targetId: string) => Promise<void>;
  /** What proxies tell of a target, and of a service. */
  readonly stats: (targetId: string) => TargetStats;
  readonly serviceStats: (name: string) => ServiceStats;
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
  /** null: it only has upstreams, as in the next. */
  state(): ServiceState | null;
  deployment(): DeploymentStatus | null;
  workers(): readonly WorkerStatus[];
  /** null: it only has upstreams. */
  totals(): Totals | null;
  /** What its workers run, as it may be shown, its placeholders not filled in; null: it only has upstreams. */
  command(): readonly string[] | null;
  reportFailure(targetId: string): void;
  /** Becomes what `next` says, its workers one after the other, or stays as it was and says why. */
  update(next: ServiceConfig): Promise<RollResult>;
  /** Takes the last update back. */
  revert(): Promise<void>;
  /** A new release of the same definition, or an earlier one of this name. */
  deploy(name: string): Promise<DeployResult>;
  /** Replaces all workers by others of the same release; those that were given up are tried again. */
  restart(): Promise<RollResult>;
  /** null: it only has upstreams. */
  scaling(): Scaling | null;
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

export interface Scaling {
  readonly type: Sizing['type'];
  readonly min: number;
  readonly max: number;
  /** An operator said how many. */
  readonly overridden: boolean;
  /** null: nothing was decided, or nothing is to be. */
  readonly last: ScaleEvent | null;
}

export interface Hold {
  readonly admission: 'paused' | 'stopped';
  readonly message: string;
}

export function startService(initial: ServiceConfig, options: ServicesOptions): RunningService {
  let config = initial;
  const proxyGid = options.proxyIdentity?.gid ?? null;
  /** Before the last update. */
  let previous: ServiceConfig | null = null;
  const log = options.log.with({ service: config.name });
  let deployment: Deployment | null = null;
  let held: Hold | null = null;
  let overridden = false;
  const ended = new AbortController();
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
  const startDeployment = (service: LaunchedService): Deployment => {
    announce(service);
    return createDeployment({
      service,
      releases: options.releases,
      runtimeDirectory: options.runtimeDirectory,
      identityOf: (one) => chooseIdentity(one).identity,
      proxyGid,
      guard: options.guard,
      records: options.records,
      cgroups: options.cgroups,
      log,
      onChange,
      onExit: options.onExit,
      release: options.release,
      stats: options.stats,
      outOfMemory: options.outOfMemory,
      usage: options.usage,
    });
  };
  const startChecks = (service: ServiceConfig): UpstreamChecks | null =>
    service.upstreams.length === 0 ? null : createUpstreamChecks({ service, log, onChange });

  const startAll = (): void => {
    if (isLaunched(config)) deployment = startDeployment(config);
    checks = startChecks(config);
  };
  const stopAll = async (graceMs: number): Promise<void> => {
    await Promise.all([deployment?.stop({ graceMs }), checks?.stop()]);
  };
  startAll();
  const autoscaler = createAutoscaler(
    {
      limits: () => (overridden || held !== null || config.sizing.type !== 'load' ? null : config.sizing),
      concurrency: () => config.concurrency,
      workers: () => deployment?.workers() ?? [],
      stats: () => options.serviceStats(config.name),
      targetStats: options.stats,
      scale: (count) => void deployment?.scale(count),
    },
    log,
    ended.signal,
  );

  const list = (): readonly TargetEntry[] => [...(deployment?.targets() ?? []), ...(checks?.targets() ?? [])];
  /** Workers of ours where there were none, or none where there were. */
  const updateDeployment = async (next: ServiceConfig): Promise<RollResult> => {
    const before = deployment;
    if (!isLaunched(next)) {
      deployment = null;
      void before?.stop({ graceMs: config.timeouts.drainMs + config.timeouts.stopMs });
      return { ok: true };
    }
    if (before === null) {
      deployment = startDeployment(next);
      return { ok: true };
    }
    const others = needsOtherWorkers(config, next);
    if (others) announce(next);
    return before.update(next, { others });
  };
  const adopt = async (next: ServiceConfig): Promise<void> => {
    const old = checks;
    checks = startChecks(next);
    config = next;
    overridden = false;
    await old?.stop();
    onChange();
  };

  const refused = (): typeof NOT_OURS | null =>
    held?.admission === 'stopped' ? { ok: false, reason: 'it is stopped: proxy start', output: [] } : null;

  return {
    get config() {
      return config;
    },
    targets: () => {
      const targets = list();
      if (held !== null) return { targets, admission: held.admission, unavailable: held.message };
      const reason = deployment?.unavailable() ?? 'no upstream is healthy';
      return { targets, admission: 'open', unavailable: targets.some(({ healthy }) => healthy) ? null : reason };
    },
    readyCount: () => {
      const workers = deployment?.workers().filter(({ state }) => state === 'ready').length ?? 0;
      return workers + (checks?.targets().filter(({ healthy }) => healthy).length ?? 0);
    },
    state: () => deployment?.state() ?? null,
    deployment: () => deployment?.status() ?? null,
    workers: () => deployment?.workers() ?? [],
    totals: () => deployment?.totals() ?? null,
    command: () => (isLaunched(config) ? planCommand(config).shown : null),
    reportFailure: (id) => {
      deployment?.reportFailure(id);
      checks?.reportFailure(id);
    },
    update: async (next) => {
      if (held?.admission === 'stopped') {
        previous = config;
        config = next;
        return { ok: true };
      }
      const result = await updateDeployment(next);
      if (!result.ok) return result;
      previous = config;
      await adopt(next);
      return result;
    },
    revert: async () => {
      if (previous === null) return;
      const back = previous;
      previous = null;
      if (held?.admission === 'stopped') {
        config = back;
        return;
      }
      if (isLaunched(config) && isLaunched(back)) await deployment?.revert();
      else await updateDeployment(back);
      await adopt(back);
    },
    deploy: async (name) => refused() ?? deployment?.deploy(name) ?? NOT_OURS,
    restart: async () => refused() ?? deployment?.restart() ?? NOT_OURS,
    scaling: () => {
      if (deployment === null) return null;
      const { sizing, workers } = config;
      const { min, max } = sizing.type === 'load' ? sizing : { min: workers, max: workers };
      return { type: sizing.type, min, max, overridden, last: autoscaler.last() };
    },
    scale: async (count) => {
      overridden = count !== null;
      await deployment?.scale(count);
    },
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
        overridden = false;
        startAll();
        onChange();
      }
      for (;;) {
        const changed = nextChange.promise;
        const workers = deployment?.workers() ?? [];
        if (deployment === null || workers.some(({ state }) => state === 'ready')) return { ok: true };
        if (held?.admission === 'stopped') return { ok: false, reason: 'it was stopped meanwhile', output: [] };
        const { problem } = deployment.status();
        const failed = workers.find(({ state }) => state === 'backoff' || state === 'fatal');
        if (problem === null && failed === undefined) await changed;
        else return { ok: false, reason: problem ?? failed?.lastExit ?? 'no worker is ready', output: [] };
      }
    },
    stop: (graceMs) => {
      ended.abort();
      return stopAll(graceMs);
    },
  };
}

const NOT_OURS: Extract<RollResult, { ok: false }> = { ok: false, reason: 'it has no workers of ours', output: [] };

function isLaunched(service: ServiceConfig): service is LaunchedService {
  return service.command !== null;
}
