/**
 * What is counted of the requests of one site and service: a row of numbers, so that counting one more allocates nothing.
 * Here is where in it each stands, for those who count and those who read.
 */
export const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;
export const PROTOCOLS = ['HTTP/1.1', 'HTTP/2'] as const;

/** What is longer is in a last bucket of its own. */
export const BUCKETS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];
/** Of a histogram: how many were in each bucket, and the sum of milliseconds. */
export const HISTOGRAM_LENGTH = BUCKETS_MS.length + 2;

/** By status class, of each by protocol. */
export const REQUESTS = 0;
export const DURATION = REQUESTS + STATUS_CLASSES.length * PROTOCOLS.length;
/** Of the worker's answer. */
export const FIRST_BYTE = DURATION + HISTOGRAM_LENGTH;
/** Of bodies. */
export const BYTES_IN = FIRST_BYTE + HISTOGRAM_LENGTH;
export const BYTES_OUT = BYTES_IN + 1;
export const ROW_LENGTH = BYTES_OUT + 1;

/** Where no site or no service has part in an answer; no host and no service is called so. */
export const NONE = '-';

export interface RequestCounts {
  readonly site: string;
  readonly service: string;
  /** Since the start of whoever counts. */
  readonly counts: readonly number[];
}

/** Adds `ms` to the histogram that begins at `at`. */
export function observe(row: Float64Array, at: number, ms: number): void {
  let bucket = 0;
  while (bucket < BUCKETS_MS.length && ms > BUCKETS_MS[bucket]!) bucket++;
  row[at + bucket]!++;
  row[at + HISTOGRAM_LENGTH - 1]! += ms;
}
