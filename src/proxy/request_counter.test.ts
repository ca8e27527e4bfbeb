import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRequestCounter } from './request_counter.ts';
import {
  BUCKETS_MS,
  BYTES_IN,
  BYTES_OUT,
  DURATION,
  FIRST_BYTE,
  HISTOGRAM_LENGTH,
  REQUESTS,
} from '../request_counts.ts';

test('counts by status class and protocol, time and bytes, and tells what changed once', () => {
  const counter = createRequestCounter();
  const row = counter.row('app.example', 'web');
  row.add(200, 'HTTP/1.1', 1, 0.4, 10, 100);
  row.add(204, 'HTTP/2', 1.1, -1, 0, 0);
  row.add(502, 'HTTP/2', 70_000, 70_000, 0, 30);
  const [told, ...others] = counter.take();
  assert.deepEqual([told?.site, told?.service, others], ['app.example', 'web', []]);
  const { counts = [] } = told ?? {};
  assert.deepEqual(counts.slice(REQUESTS, DURATION), [0, 0, 1, 1, 0, 0, 0, 0, 0, 1]);
  // What a bucket is named for belongs to it.
  assert.deepEqual(counts.slice(DURATION, DURATION + 3), [1, 1, 0]);
  assert.equal(counts[DURATION + BUCKETS_MS.length], 1);
  assert.equal(counts[DURATION + HISTOGRAM_LENGTH - 1], 70_002.1);
  assert.deepEqual(counts.slice(FIRST_BYTE, FIRST_BYTE + 2), [1, 0]);
  assert.deepEqual([counts[BYTES_IN], counts[BYTES_OUT]], [10, 130]);
  assert.deepEqual(counter.take(), []);
  row.add(404, 'HTTP/1.1', 3, -1, 0, 0);
  assert.equal(counter.take()[0]?.counts[REQUESTS + 6], 1);
});

test("a WebSocket's hours are no answer's time, and what has no status of HTTP is an error", () => {
  const row = createRequestCounter().row('a', 'web');
  row.add(101, 'HTTP/1.1', 3_600_000, 2, 0, 0);
  row.add(0, 'HTTP/1.1', 5, -1, 0, 0);
  row.add(700, 'HTTP/1.1', 5, -1, 0, 0);
  const { counts = [] } = row.take() ?? {};
  assert.deepEqual([counts[REQUESTS], counts[REQUESTS + 8]], [1, 2]);
  assert.equal(counts[DURATION + HISTOGRAM_LENGTH - 1], 10);
});

test('rows stay as long as their site is known, and hosts nobody knows share one', () => {
  const counter = createRequestCounter();
  const kept = counter.row('a', 'web');
  const gone = counter.row('b', null);
  kept.add(200, 'HTTP/1.1', 1, 1, 0, 0);
  gone.add(308, 'HTTP/1.1', 1, -1, 0, 0);
  counter.strangers.add(404, 'HTTP/1.1', 1, -1, 0, 0);
  counter.keep(['a']);
  assert.deepEqual(
    counter.take().map(({ site, service }) => [site, service]),
    [
      ['-', '-'],
      ['a', 'web'],
    ],
  );
  assert.equal(counter.row('a', 'web'), kept);
  assert.notEqual(counter.row('b', null), gone);
});
