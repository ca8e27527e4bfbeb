/** What the admin socket offers: reading the state of things, and the verbs that change it. */
import { AdminError } from './admin.ts';
import type { AdminHandler } from './admin.ts';
import type { Health } from './health.ts';
import type { Listener } from './listeners.ts';
import { logHandlers } from './logs_api.ts';
import type { ProxyPool } from './proxies.ts';
import type { RecentEvents } from './recent_events.ts';
import type { RunningService, Scaling } from './services.ts';
import { serviceHandlers } from './services_api.ts';
import { certificateHandlers, certificatesJson, iso } from './certificates_api.ts';
import { formatAddress } from '../address.ts';
import type { Certificates } from '../certificates/certificates.ts';
import type { DeploymentStatus } from '../workers/deployment.ts';
import type { Config } from '../config/config.ts';
import { formatProblem } from '../config/load.ts';
import type { Problem } from '../config/load.ts';
import { VERSION } from '../version.ts';
import type { GroupUsage } from '../workers/process_usage.ts';

/** The running control plane, as those who operate it see it. */
export interface ControlPlane {
  readonly config: Config;
  readonly listeners: readonly Listener[];
  services(): readonly RunningService[];
  readonly proxies: ProxyPool;
  readonly certificates: Certificates;
  readonly startedAt: number;
  /** What was logged last. */
  readonly events: RecentEvents;
  /** Ended processes that nobody buries; null: we are not PID 1. */
  zombies(): number | null;
  /** Lines nobody took in time. */
  droppedLogLines(): number;
  health(): Health;
  reloads(): Reloads;
  /** Of a process of ours and its group; null: not known. */
  processUsage(pid: number): GroupUsage | null;
  /** Reads the file again. */
  reload(): Promise<ReloadOutcome>;
  /** Log files were moved away: new ones take their place. */
  reopenLogs(): void;
  /** Ends everything within the grace period. */
  stop(reason: string): Promise<void>;
  /** Resolves when proxies and workers have ended. */
  readonly idle: Promise<void>;
  /** Resolves when everything has ended. */
  readonly stopped: Promise<void>;
}

export interface Reloads {
  readonly done: number;
  readonly refused: number;
  /** Whether the last one was; the start counts as one. */
  readonly lastDone: boolean;
  readonly lastDoneAt: number;
}

export type ReloadOutcome =
  | { readonly ok: true; readonly changes: readonly string[]; readonly notReloaded: readonly string[] }
  | { readonly ok: false; readonly reason: string; readonly problems: readonly Problem[] };

export function createApi(plane: ControlPlane): Readonly<Record<string, AdminHandler>> {
  return {
    'GET /v1/status': () => Promise.resolve(status(plane)),
    'GET /v1/health': () => Promise.resolve(plane.health()),
    'POST /v1/reload': async () => {
      const outcome = await plane.reload();
      if (outcome.ok) {
        const launched = plane.services().flatMap(({ config: { name, command } }) => (command === null ? [] : name));
        return { changes: outcome.changes, not_reloaded: outcome.notReloaded, launched };
      }
      const { reason, problems } = outcome;
      const code = problems.length > 0 ? 'bad_configuration' : 'not_applied';
      throw new AdminError(422, code, `${reason}; nothing was changed`, problems.map(formatProblem));
    },
    'POST /v1/stop': async () => {
      void plane.stop('the operator asked');
      // The answer is one of the last things that go out: the socket closes when all else has ended.
      await plane.idle;
      return {};
    },
    ...certificateHandlers(() => plane.certificates),
    ...serviceHandlers(() => plane.services(), plane.events),
    ...logHandlers(plane.events, () => plane.services().map(({ config }) => config.name)),
  };
}

/** As `proxy status --json` shows it. */
export function status(plane: ControlPlane): unknown {
  const { config } = plane;
  const proxies = plane.proxies.status();
  const inFlight = new Map<string, number>();
  for (const { stats } of proxies) {
    for (const [target, { inFlight: count }] of Object.entries(stats?.targets ?? {})) {
      inFlight.set(target, (inFlight.get(target) ?? 0) + count);
    }
  }
  return {
    version: VERSION,
    pid: process.pid,
    started_at: iso(plane.startedAt),
    configuration: config.file,
    dropped_log_lines: plane.droppedLogLines(),
    zombies: plane.zombies(),
    listeners: plane.listeners.map(({ name, host, port }) => ({
      name,
      address: formatAddress({ host, port }),
      port,
      tls: config.entrypoints.find((entrypoint) => entrypoint.name === name)?.tls ?? false,
    })),
    proxies: proxies.map(({ slot, pid, state, startedAt, stats, ...past }) => ({
      slot,
      pid,
      state,
      started_at: iso(startedAt),
      restarts: past.restarts,
      restarts_by_reason: past.restartsByReason,
      next_start_at: iso(past.nextStartAt),
      last_exit: past.lastExit,
      last_exit_reason: past.lastExitReason,
      connections: stats?.connections ?? 0,
      requests: stats?.requests ?? 0,
      in_flight: stats?.inFlight ?? 0,
    })),
    sites: config.sites.map(({ name, hosts, tls }) => ({ name, hosts, tls: tls.mode })),
    certificates: certificatesJson(plane.certificates),
    services: plane.services().map((service) => ({
      name: service.config.name,
      state: service.state(),
      held: service.held(),
      scaling: scalingJson(service.scaling()),
      ready: service.readyCount(),
      command: service.command(),
      ...deploymentJson(service.deployment()),
      workers: service.workers().map((worker) => ({
        id: worker.id,
        slot: worker.slot,
        pid: worker.pid,
        state: worker.state,
        started_at: iso(worker.startedAt),
        ready_at: iso(worker.readyAt),
        restarts: worker.restarts,
        restarts_by_reason: worker.restartsByReason,
        next_start_at: iso(worker.nextStartAt),
        memory: worker.usage?.memory ?? null,
        cpu: worker.usage?.cpu ?? null,
        waits_for: worker.waitsFor,
        last_exit: worker.lastExit,
        last_exit_reason: worker.lastExitReason,
        lost_lines: worker.lostLines,
        in_flight: inFlight.get(worker.id) ?? 0,
      })),
      upstreams: service
        .targets()
        .targets.filter(({ address }) => 'host' in address)
        .map(({ id }) => ({ id, in_flight: inFlight.get(id) ?? 0 })),
    })),
  };
}

function deploymentJson(deployment: DeploymentStatus | null): Readonly<Record<string, unknown>> {
  if (deployment === null) return {};
  const { release, step, waits, problem } = deployment;
  return {
    release,
    waits_for_another_instance: waits,
    prestart:
      step === null
        ? null
        : {
            step: step.name,
            number: step.number,
            of: step.of,
            attempt: step.attempt,
            started_at: iso(step.startedAt),
          },
    problem,
  };
}

function scalingJson(scaling: Scaling | null): unknown {
  if (scaling === null) return null;
  const { last, ...rest } = scaling;
  if (last === null) return { ...rest, last: null };
  const { at, from, to, reason, cpu, busy, hostCpu, queued, queuedMs, ready, room } = last;
  const inputs = { cpu, busy, host_cpu: hostCpu, queued, queued_ms: queuedMs, ready, memory: room.sum };
  return { ...rest, last: { at: iso(at), from, to, reason, ...inputs } };
}
