/** Services and their workers. */
import type { ControlPlane } from '../plane.ts';
import { counter, gauge, histogram } from './families.ts';
import type { Family, Row } from './families.ts';
import type { Reason } from '../../workers/states.ts';

const SERVICE = ['service'] as const;
const WORKER = ['service', 'slot'] as const;
/** Told from 0 on, as nothing can be said of how fast a number grows that was not there before. */
const REASONS: Readonly<Record<Reason, 0>> = {
  boot: 0,
  command: 0,
  port_taken: 0,
  oom: 0,
  killed: 0,
  signal: 0,
  crash: 0,
  clean: 0,
  liveness: 0,
  memory: 0,
  max_requests: 0,
  max_age: 0,
  rolling: 0,
  scale: 0,
  operator: 0,
  stop: 0,
};
/** Told also when nobody is in them, so that an alert sees them go away. */
const STATES = ['starting', 'ready', 'unhealthy', 'draining', 'stopping', 'backoff', 'fatal', 'waiting'] as const;

export function serviceMetrics({ proxies, services }: Pick<ControlPlane, 'proxies' | 'services'>): readonly Family[] {
  const all = services().map((service) => ({
    service,
    name: service.config.name,
    traffic: proxies.serviceStats(service.config.name),
    workers: service.workers(),
    totals: service.totals(),
  }));
  const launched = all.filter(({ totals }) => totals !== null);
  const ofEach = (value: (one: (typeof all)[number]) => number): Row[] => all.map((one) => [value(one), one.name]);
  const ofWorkers = (value: (worker: (typeof all)[number]['workers'][number]) => number | null): Row[] =>
    all.flatMap(({ name, workers }) =>
      workers.flatMap((worker): Row[] => {
        const told = value(worker);
        return told === null ? [] : [[told, name, String(worker.slot)]];
      }),
    );
  return [
    gauge(
      'proxy_service_ready',
      'Workers and upstreams that can be asked',
      SERVICE,
      ofEach(({ service }) => service.readyCount()),
    ),
    gauge(
      'proxy_service_stopped',
      '1 while an operator has stopped it',
      SERVICE,
      ofEach(({ service }) => (service.held()?.admission === 'stopped' ? 1 : 0)),
    ),
    gauge(
      'proxy_service_queue_requests',
      'Requests that wait for a worker',
      SERVICE,
      ofEach(({ traffic }) => traffic.queued),
    ),
    histogram(
      'proxy_service_queue_wait_seconds',
      'How long requests waited that had to wait for a worker',
      SERVICE,
      all.map(({ name, traffic }) => [[...traffic.waits], name]),
    ),
    counter(
      'proxy_service_shed_total',
      'Requests sent away with 503 because too many waited, or they did for too long',
      SERVICE,
      ofEach(({ traffic }) => traffic.shed),
    ),
    counter(
      'proxy_service_retries_total',
      'Requests given to another worker, or once more to the same',
      SERVICE,
      ofEach(({ traffic }) => traffic.retries),
    ),
    counter(
      'proxy_service_ejections_total',
      'How often a worker or upstream was left out for a while because it failed',
      SERVICE,
      ofEach(({ traffic }) => traffic.ejections),
    ),
    gauge(
      'proxy_service_workers',
      'Workers by state',
      ['service', 'state'],
      launched.flatMap(({ name, workers }) =>
        STATES.map((state): Row => [workers.filter((worker) => worker.state === state).length, name, state]),
      ),
    ),
    counter(
      'proxy_service_worker_restarts_total',
      'Workers that another one followed, by why',
      ['service', 'reason'],
      launched.flatMap(({ name, totals }) =>
        Object.entries({ ...REASONS, ...totals?.restarts }).map(([reason, count]): Row => [count, name, reason]),
      ),
    ),
    counter(
      'proxy_service_rollouts_total',
      'Replacements of all workers, by how they ended',
      ['service', 'result'],
      launched.flatMap(({ name, totals }): Row[] => [
        [totals?.rolls.done ?? 0, name, 'done'],
        [totals?.rolls.failed ?? 0, name, 'failed'],
      ]),
    ),
    gauge(
      'proxy_worker_requests_in_flight',
      'Requests a worker has',
      WORKER,
      ofWorkers(({ id, pid }) => (pid === null ? null : proxies.targetStats(id).inFlight)),
    ),
    gauge(
      'proxy_worker_memory_bytes',
      'Memory of a worker and what it started',
      WORKER,
      ofWorkers(({ usage }) => usage?.memory ?? null),
    ),
    counter(
      'proxy_worker_cpu_seconds_total',
      'CPU time of a worker and what it started, since that worker began',
      WORKER,
      ofWorkers(({ usage }) => usage?.cpuSeconds ?? null),
    ),
    gauge(
      'proxy_worker_start_time_seconds',
      'When a worker was started, in seconds since the epoch',
      WORKER,
      ofWorkers(({ pid, startedAt }) => (pid === null ? null : startedAt / 1_000)),
    ),
  ];
}
