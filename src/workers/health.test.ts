import assert from 'node:assert/strict';
import { test } from 'node:test';
import { afterProbe, HEALTHY, UNHEALTHY, untilNextProbe } from './health.ts';
import type { Health } from './health.ts';

function after(start: Health, probes: string, limits: { rise: number; fall: number }): boolean {
  let health = start;
  for (const probe of probes) health = afterProbe(health, probe === '+', limits);
  return health.healthy;
}

test('falls after as many bad probes in a row as it is told', () => {
  assert.equal(after(HEALTHY, '--', { rise: 1, fall: 3 }), true);
  assert.equal(after(HEALTHY, '---', { rise: 1, fall: 3 }), false);
});

test('a good probe in between starts the count anew', () => {
  assert.equal(after(HEALTHY, '--+--', { rise: 1, fall: 3 }), true);
});

test('rises after as many good probes in a row as it is told', () => {
  assert.equal(after(UNHEALTHY, '+-+', { rise: 2, fall: 1 }), false);
  assert.equal(after(UNHEALTHY, '+-++', { rise: 2, fall: 1 }), true);
});

test('checks begin an interval apart, however long each takes; of what is unhealthy a second at most', () => {
  assert.equal(untilNextProbe(HEALTHY, 5_000, 200), 4_800);
  assert.equal(untilNextProbe(HEALTHY, 5_000, 5_000), 0);
  assert.equal(untilNextProbe(UNHEALTHY, 5_000, 200), 800);
  assert.equal(untilNextProbe(UNHEALTHY, 500, 700), 0);
});
