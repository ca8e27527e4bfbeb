import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quantile, sampleOf } from './samples.ts';
import type { Counters, ServiceCounters } from './samples.ts';
import { BUCKETS_MS } from '../../request_counts.ts';

const histogram = (buckets: Readonly<Record<number, number>>): number[] =>
  Array.from({ length: BUCKETS_MS.length + 1 }, (_, i) => buckets[BUCKETS_MS[i] ?? Infinity] ?? 0);

const counters = (at: number, web: Partial<ServiceCounters>): Counters => ({
  at,
  services: { web: { requests: 0, errors: 0, durations: histogram({}), queued: 0, inFlight: 0, ...web } },
  workers: {},
});

test('a sample is what happened since the one before, a second', () => {
  const before = counters(0, { requests: 100, errors: 1, durations: histogram({ 10: 100 }) });
  const after = counters(5_000, {
    requests: 600,
    errors: 11,
    durations: histogram({ 10: 600 }),
    queued: 3,
    inFlight: 7,
  });
  assert.deepEqual(sampleOf(before, after).services['web'], {
    requests: 100,
    errors: 2,
    p50: 7.5,
    p95: 9.75,
    p99: 9.95,
    queued: 3,
    inFlight: 7,
  });
});

test('a service that is new begins at nothing, and so does one whose counters went back', () => {
  const { web } = counters(0, { requests: 50 }).services;
  assert.ok(web !== undefined);
  assert.equal(sampleOf({ at: 0, services: {}, workers: {} }, counters(1_000, web)).services['web']?.requests, 50);
  assert.equal(sampleOf(counters(0, { requests: 80 }), counters(1_000, web)).services['web']?.requests, 50);
});

test('without a request there is no latency', () => {
  assert.equal(sampleOf(counters(0, {}), counters(1_000, {})).services['web']?.p99, null);
});

test('a quantile lies in the bucket it falls into, and never above the last bound', () => {
  assert.equal(quantile(histogram({ 1: 50, 100: 50 }), 0.5), 1);
  assert.equal(quantile(histogram({ 1: 50, 100: 50 }), 0.75), 75);
  assert.equal(quantile(histogram({ [Infinity]: 10 }), 0.5), BUCKETS_MS.at(-1));
  assert.equal(quantile(histogram({}), 0.5), null);
});
