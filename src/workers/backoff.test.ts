import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextStart } from './backoff.ts';

test('doubles from one second to sixty while workers end early', () => {
  const delays: number[] = [];
  let failures = 0;
  for (let i = 0; i < 9; i++) {
    const next = nextStart({ readyForMs: null, failures });
    delays.push(next.delayMs / 1000);
    ({ failures } = next);
  }
  assert.deepEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
});

test('starts at once, and from the beginning, after a stable run', () => {
  assert.deepEqual(nextStart({ readyForMs: 10_000, failures: 6 }), { delayMs: 0, failures: 0 });
});

test('a worker that was ready only for a moment has failed', () => {
  assert.deepEqual(nextStart({ readyForMs: 9_999, failures: 0 }), { delayMs: 1_000, failures: 1 });
});
