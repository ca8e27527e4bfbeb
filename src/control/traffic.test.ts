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
  services: { web: { queued: 1, queuedMs: oldestUnansweredMs, shed: 3 } },
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
  assert.deepEqual(traffic.service('web', proxies), { queued: 2, queuedMs: 900, shed: 6 });
});

test('what a proxy that died had counted counts on, what it had under way does not', () => {
  const traffic = createTraffic();
  traffic.keep(told(10, 50));
  const { inFlight, requests, answers, oldestUnansweredMs, silentMs } = traffic.target('w', [told(5, 7)]);
  assert.deepEqual([inFlight, requests, answers, oldestUnansweredMs, silentMs], [2, 15, 11, 7, 5]);
  assert.deepEqual(traffic.service('web', []), { queued: 0, queuedMs: 0, shed: 3 });
  traffic.forget(() => false);
  assert.equal(traffic.target('w', []).requests, 0);
});
