/** What the charts are made of, read from the running control plane. */
import type { Counters, ServiceCounters, WorkerUsage } from './samples.ts';
import type { ControlPlane } from '../plane.ts';
import { BUCKETS_MS, DURATION, PROTOCOLS, REQUESTS, STATUS_CLASSES } from '../../request_counts.ts';

/** Of more workers nobody could tell the lines apart. */
const MAX_WORKERS = 100;
const SERVER_ERRORS = REQUESTS + STATUS_CLASSES.indexOf('5xx') * PROTOCOLS.length;

export function readCounters(plane: Pick<ControlPlane, 'services' | 'proxies'>, now: number): Counters {
  const services: Record<string, ServiceCounters> = {};
  const workers: [string, WorkerUsage][] = [];
  // What is not known any more is the metrics' to forget.
  const rows = plane.proxies.requestCounts(() => true);
  for (const service of plane.services()) {
    const { name } = service.config;
    const own = rows.filter((row) => row.service === name);
    const sum = (from: number, length: number): number =>
      own.reduce((total, { counts }) => total + counts.slice(from, from + length).reduce((a, b) => a + b, 0), 0);
    services[name] = {
      requests: sum(REQUESTS, STATUS_CLASSES.length * PROTOCOLS.length),
      errors: sum(SERVER_ERRORS, PROTOCOLS.length),
      durations: Array.from({ length: BUCKETS_MS.length + 1 }, (_, bucket) => sum(DURATION + bucket, 1)),
      queued: plane.proxies.serviceStats(name).queued,
      inFlight: service.targets().targets.reduce((total, { id }) => total + plane.proxies.targetStats(id).inFlight, 0),
    };
    for (const { id, pid, usage } of service.workers()) {
      if (pid !== null) workers.push([id, { memory: usage?.memory ?? null, cpu: usage?.cpu ?? null }]);
    }
  }
  return { at: now, services, workers: Object.fromEntries(workers.slice(0, MAX_WORKERS)) };
}
