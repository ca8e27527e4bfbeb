import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recycling } from './recycling.ts';
import type { Life, RecyclingLimits } from './recycling.ts';

const MIB = 1024 * 1024;
const life = (more: Partial<Life>): Life => ({ ageMs: 0, requests: 0, memory: [], luck: 0.5, ...more });
const limits = (more: Partial<RecyclingLimits>): RecyclingLimits => ({
  maxRequests: 0,
  maxAgeMs: 0,
  memory: { soft: 0, hard: 0 },
  ...more,
});

test('without limits nobody is replaced', () => {
  assert.equal(recycling(life({ ageMs: 1e12, requests: 1e9, memory: [1e12, 1e12, 1e12] }), limits({})), null);
});

test('three samples above the soft limit replace it, one above the hard limit kills it', () => {
  const memory = { soft: 100 * MIB, hard: 200 * MIB };
  const of = (...sizes: number[]) => recycling(life({ memory: sizes.map((size) => size * MIB) }), limits({ memory }));
  assert.equal(of(150, 150), null);
  assert.equal(of(150, 99, 150), null);
  assert.deepEqual(of(150, 150, 150), { reason: 'memory', how: 'replace' });
  assert.deepEqual(of(201), { reason: 'memory', how: 'kill' });
});

test('requests and age are spread by ten percent either way', () => {
  const after = (requests: number, luck: number) => recycling(life({ requests, luck }), limits({ maxRequests: 1_000 }));
  assert.equal(after(899, 0), null);
  assert.deepEqual(after(900, 0), { reason: 'max_requests', how: 'replace' });
  assert.equal(after(1_099, 1), null);
  assert.deepEqual(after(1_100, 1), { reason: 'max_requests', how: 'replace' });
  assert.deepEqual(recycling(life({ ageMs: 1_000 }), limits({ maxAgeMs: 1_000 })), {
    reason: 'max_age',
    how: 'replace',
  });
});
