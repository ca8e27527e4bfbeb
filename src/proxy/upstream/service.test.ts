import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceEntry } from '../../snapshot.ts';
import { Service, Target } from './service.ts';

function service(policy: ServiceEntry['policy'], count: number): Service {
  const targets = Array.from({ length: count }, (_, i) => new Target(`w${i}`, { host: '127.0.0.1', port: 1 + i }));
  const entry: ServiceEntry = {
    name: 'web',
    policy,
    retries: 2,
    connectTimeoutMs: 1,
    responseTimeoutMs: 1,
    idleTimeoutMs: 1,
    targets: [],
    unavailable: null,
  };
  return new Service(entry, targets);
}

test('round robin takes each target in turn', () => {
  const web = service('round_robin', 3);
  assert.deepEqual(
    Array.from({ length: 6 }, () => web.pick([])?.id),
    ['w0', 'w1', 'w2', 'w0', 'w1', 'w2'],
  );
});

test('least connections takes the least busy and spreads ties', () => {
  const web = service('least_conn', 3);
  const [a, b, c] = web.targets;
  assert.ok(a && b && c);
  a.inFlight = 2;
  b.inFlight = 1;
  c.inFlight = 3;
  assert.equal(web.pick([])?.id, 'w1');
  a.inFlight = b.inFlight = c.inFlight = 0;
  assert.equal(new Set(Array.from({ length: 3 }, () => web.pick([])?.id)).size, 3);
});

test('never gives a target that was tried', () => {
  const web = service('least_conn', 2);
  const first = web.pick([]);
  assert.ok(first);
  const second = web.pick([first]);
  assert.ok(second);
  assert.notEqual(first, second);
  assert.equal(web.pick([first, second]), null);
  assert.equal(service('round_robin', 0).pick([]), null);
});
