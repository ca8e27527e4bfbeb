/** All services of a configuration: launched ones under a supervisor, given ones under health checks; as one set of targets. */
import type { ServiceConfig } from '../config/config.ts';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';
import type { Identity, TargetEntry } from '../snapshot.ts';
import type { Guard } from '../workers/guard.ts';
import type { WorkerRecords } from '../workers/records.ts';
import { createSupervisor } from '../workers/supervisor.ts';
import type { Supervisor, WorkerStatus } from '../workers/supervisor.ts';
import { createUpstreamChecks } from '../workers/upstream_checks.ts';
import type { UpstreamChecks } from '../workers/upstream_checks.ts';
import { workerIdentity } from './identity.ts';
import type { ServiceTargets } from './parts.ts';

const READY_POLL_MS = 50;

export interface ServicesOptions {
  readonly runtimeDirectory: string;
  readonly proxyIdentity: Identity | null;
  readonly guard: Guard;
  readonly records: WorkerRecords;
  readonly log: Logger;
  /** The targets of some service changed. */
  readonly onChange: () => void;
  /** Resolves when the target is out of balancing and no request is on it. */
  readonly release: (targetId: string) => Promise<void>;
}

export interface RunningService {
  readonly config: ServiceConfig;
  targets(): ServiceTargets;
  workers(): readonly WorkerStatus[];
  reportFailure(targetId: string): void;
  /** Resolves with true when every worker is ready, with false when one failed or took longer than it may. */
  untilReady(): Promise<boolean>;
  stop(graceMs: number): Promise<void>;
}

export function startService(config: ServiceConfig, options: ServicesOptions): RunningService {
  const log = options.log.with({ service: config.name });
  let supervisor: Supervisor | null = null;
  let checks: UpstreamChecks | null = null;
  if (config.command !== null) {
    const { identity, warning } = workerIdentity(config.identity.user, config.directory, process.execPath);
    if (warning !== null) log.warn('worker_identity', { warning });
    supervisor = createSupervisor({
      service: { ...config, command: config.command },
      runtimeDirectory: options.runtimeDirectory,
      identity,
      proxyGid: options.proxyIdentity?.gid ?? null,
      guard: options.guard,
      records: options.records,
      log,
      onChange: options.onChange,
      release: options.release,
    });
  }
  if (config.upstreams.length > 0) {
    checks = createUpstreamChecks({ service: config, log, onChange: options.onChange });
  }
  const list = (): readonly TargetEntry[] => [...(supervisor?.targets() ?? []), ...(checks?.targets() ?? [])];
  return {
    config,
    targets: () => {
      const targets = list();
      return { targets, unavailable: targets.some(({ healthy }) => healthy) ? null : reasonFor(supervisor) };
    },
    workers: () => supervisor?.snapshot() ?? [],
    reportFailure: (id) => {
      supervisor?.reportFailure(id);
      checks?.reportFailure(id);
    },
    untilReady: async () => {
      const deadline = Date.now() + config.timeouts.startMs;
      while (Date.now() < deadline) {
        const states = supervisor?.snapshot().map(({ state }) => state) ?? [];
        if (states.includes('backoff')) return false;
        if (states.every((state) => state === 'ready') && list().some(({ healthy }) => healthy)) return true;
        await sleep(READY_POLL_MS);
      }
      return false;
    },
    stop: async (graceMs) => {
      await Promise.all([supervisor?.stop({ graceMs }), checks?.stop()]);
    },
  };
}

/** Why nothing is ready, for the client's 503: what a visitor may know and an operator can act on. */
function reasonFor(supervisor: Supervisor | null): string {
  if (supervisor === null) return 'no upstream is healthy';
  const states = supervisor.snapshot().map(({ state }) => state);
  if (states.includes('starting')) return 'the app is starting';
  if (states.includes('backoff')) return 'the app ended and is being restarted';
  return 'no worker is ready';
}
