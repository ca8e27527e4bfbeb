import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProxyStats } from '../snapshot.ts';
import { createTraffic } from './traffic.ts';

const told = (requests: number, oldestUnansweredMs: number): ProxyStats => ({
  connections: 1,
  requests,
  inFlight: 1,
  droppedLines: 0,
  targets: { w: { inFlight: 2, streams: 1, requests, answers: requests - 2, oldestUnansweredMs, silentMs: requests } },
  services: { web: { queued: 1, queuedMs: oldestUnansweredMs, shed: 3, retries: 2, ejections: 1, waits: [1, 2] } },
  entrypoints: { https: { open: 4, accepted: 9, refused: 1, handshakes: 7, failedHandshakes: 2 } },
  requestCounts: [],
});

test('adds up what proxies tell, and the longest wait is the longest of any', () => {
  const traffic = createTraffic();
  const proxies = [told(10, 50), told(20, 900)];
  assert.deepEqual(traffic.target('w', proxies), {
    inFlight: 4,
    streams: 2,
    requests: 30,
    answers: 26,
    oldestUnansweredMs: 900,
    silentMs: 10,
  });
  assert.deepEqual(traffic.service('web', proxies), {
    queued: 2,
    queuedMs: 900,
    shed: 6,
    retries: 4,
    ejections: 2,
    waits: [2, 4],
  });
  assert.equal(traffic.entrypoint('https', proxies).open, 8);
});

test('what a proxy that died had counted counts on, what it had under way does not', () => {
  const traffic = createTraffic();
  traffic.keep(told(10, 50));
  const { inFlight, requests, answers, oldestUnansweredMs, silentMs } = traffic.target('w', [told(5, 7)]);
  assert.deepEqual([inFlight, requests, answers, oldestUnansweredMs, silentMs], [2, 15, 11, 7, 5]);
  assert.deepEqual(traffic.service('web', []), {
    queued: 0,
    queuedMs: 0,
    shed: 3,
    retries: 2,
    ejections: 1,
    waits: [1, 2],
  });
  assert.deepEqual(traffic.entrypoint('https', [told(1, 1)]), {
    open: 4,
    accepted: 18,
    refused: 2,
    handshakes: 14,
    failedHandshakes: 4,
  });
  traffic.forget(() => false);
  assert.equal(traffic.target('w', []).requests, 0);
});

test('requests are counted over all proxies and their lives, until their site is gone', () => {
  const traffic = createTraffic();
  const row = (site: string, ...counts: number[]) => ({ site, service: 'web', counts });
  const all = (): unknown => traffic.requests(() => true).map(({ site, counts }) => [site, counts]);
  const [first, second, third] = [{}, {}, {}];
  traffic.tellRequests(first, [row('a', 3, 1)]);
  traffic.tellRequests(second, [row('a', 10, 0), row('b', 1, 1)]);
  // What did not change is not told again.
  traffic.tellRequests(first, []);
  traffic.tellRequests(first, [row('a', 5, 1)]);
  assert.deepEqual(all(), [
    ['a', [15, 1]],
    ['b', [1, 1]],
  ]);
  // In the place of one that died.
  traffic.tellRequests(third, [row('a', 2, 0)]);
  traffic.requests(({ site }) => site !== 'b');
  assert.deepEqual(all(), [['a', [17, 1]]]);
  // `b` is back: its proxy begins anew.
  traffic.tellRequests(second, [row('b', 1, 0)]);
  assert.deepEqual(all(), [
    ['a', [17, 1]],
    ['b', [1, 0]],
  ]);
});
