/** What the charts show: rates and latencies between two looks at counters. Pure. */
import { BUCKETS_MS } from '../../request_counts.ts';

/** Everything so far. */
export interface Counters {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly services: Readonly<Record<string, ServiceCounters>>;
  /** By worker id: what each holds and uses now. */
  readonly workers: Readonly<Record<string, WorkerUsage>>;
}

export interface ServiceCounters {
  readonly requests: number;
  /** Answers of 5xx. */
  readonly errors: number;
  /** How many took as long: by bucket of `BUCKETS_MS`, and those above. */
  readonly durations: readonly number[];
  /** Now. */
  readonly queued: number;
  readonly inFlight: number;
}

export interface WorkerUsage {
  /** Bytes; null: not known. */
  readonly memory: number | null;
  /** Of one core; null: not known. */
  readonly cpu: number | null;
}

export interface Sample {
  readonly at: number;
  readonly services: Readonly<Record<string, ServiceSample>>;
  readonly workers: Readonly<Record<string, WorkerUsage>>;
}

export interface ServiceSample {
  /** A second, as are the errors. */
  readonly requests: number;
  readonly errors: number;
  /** Milliseconds; null: there was no request. */
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly queued: number;
  readonly inFlight: number;
}

/** A service that was not there before began at nothing; counters that went back have begun anew. */
export function sampleOf(before: Counters, after: Counters): Sample {
  const seconds = Math.max(0.001, (after.at - before.at) / 1_000);
  const services: Record<string, ServiceSample> = {};
  for (const [name, now] of Object.entries(after.services)) {
    const then = before.services[name];
    const since = (count: number, earlier = 0): number => (count >= earlier ? count - earlier : count);
    const durations = now.durations.map((count, i) => since(count, then?.durations[i]));
    services[name] = {
      requests: round(since(now.requests, then?.requests) / seconds),
      errors: round(since(now.errors, then?.errors) / seconds),
      p50: quantile(durations, 0.5),
      p95: quantile(durations, 0.95),
      p99: quantile(durations, 0.99),
      queued: now.queued,
      inFlight: now.inFlight,
    };
  }
  return { at: after.at, services, workers: after.workers };
}

/**
 * Where the given part of a histogram lies, in milliseconds, as if each bucket were filled evenly (as Prometheus'
 * histogram_quantile does); for what is above the last bound, that bound. null: it is empty.
 */
export function quantile(counts: readonly number[], part: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = part * total;
  for (const [bucket, count] of counts.entries()) {
    if (left > count || count === 0) {
      left -= count;
      continue;
    }
    const from = BUCKETS_MS[bucket - 1] ?? 0;
    const to = BUCKETS_MS[bucket] ?? from;
    return round(from + ((to - from) * left) / count);
  }
  return BUCKETS_MS.at(-1) ?? null;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
