import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeHealth } from './health.ts';

const NOW = 1_000_000;
const heard = { slot: 0, state: 'ready', heardAt: NOW - 900 } as const;
const well = { now: NOW, stopping: false, proxies: [heard], services: [{ name: 'web', ready: 1 }] };

test('is ready with a proxy that answers and a worker in each service', () => {
  assert.deepEqual(judgeHealth(well), { alive: true, ready: true, problems: [] });
});

test('a proxy that says nothing any more answers nobody, unless a sibling does', () => {
  const silent = { slot: 1, state: 'ready', heardAt: NOW - 12_000 } as const;
  const health = judgeHealth({ ...well, proxies: [silent] });
  assert.deepEqual(health.problems, ['no proxy answers: proxy 1 has said nothing for 12 s']);
  assert.equal(health.alive, false);
  assert.equal(judgeHealth({ ...well, proxies: [silent, heard] }).ready, true);
});

test('what is stopping lives and is not ready', () => {
  const proxies = [{ ...heard, state: 'draining' as const }];
  assert.deepEqual(judgeHealth({ ...well, proxies, stopping: true }), {
    alive: true,
    ready: false,
    problems: ['it is stopping'],
  });
});

test('names each service without a ready worker', () => {
  const services = [
    { name: 'web', ready: 0 },
    { name: 'api', ready: 2 },
    { name: 'jobs', ready: 0 },
  ];
  const { alive, ready, problems } = judgeHealth({ ...well, services });
  assert.deepEqual([alive, ready], [true, false]);
  assert.deepEqual(problems, ['service web has no ready worker', 'service jobs has no ready worker']);
});
