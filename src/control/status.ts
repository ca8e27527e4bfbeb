/** What is true now, as `proxy status --json` and the dashboard show it: keys stay, new ones may come. */
import type { ControlPlane, Reloads } from './plane.ts';
import { certificatesJson, iso } from './certificates_api.ts';
import type { ServiceSample } from './dashboard/samples.ts';
import type { Scaling } from './services.ts';
import { formatAddress } from '../address.ts';
import { defects } from '../defects.ts';
import type { DeploymentStatus } from '../workers/deployment.ts';
import { VERSION } from '../version.ts';

export function statusJson(plane: ControlPlane): unknown {
  const { config } = plane;
  const sample = plane.sample();
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
    defects: defects(),
    dropped_log_lines: plane.droppedLogLines(),
    zombies: plane.zombies(),
    health: plane.health(),
    reload: reloadJson(plane.reloads()),
    machine: plane.machine(),
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
      traffic: trafficJson(sample?.services[service.config.name]),
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

function trafficJson(sample: ServiceSample | undefined): unknown {
  if (sample === undefined) return null;
  const { requests, errors, p50, p95, p99, queued, inFlight } = sample;
  const rates = { requests_per_second: requests, errors_per_second: errors };
  return { ...rates, p50_ms: p50, p95_ms: p95, p99_ms: p99, queued, in_flight: inFlight };
}

function reloadJson({ done, refused, lastDone, lastDoneAt, problem }: Reloads): unknown {
  return { done, refused, last_ok: lastDone, last_ok_at: iso(lastDoneAt), problem };
}
