import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAllowance } from './allowance.ts';

const LIMITS = { lines: 3, bytes: 100, windowMs: 1_000 };

test('takes so many lines in a window, then none until the next', () => {
  const allowance = createAllowance(LIMITS);
  assert.deepEqual(
    [0, 10, 20, 30, 40].map((now) => allowance.take(1, now)),
    [true, true, true, false, false],
  );
  assert.equal(allowance.open(999), false);
  assert.equal(allowance.open(1_000), true);
  assert.equal(allowance.take(1, 1_000), true);
});

test('takes so many bytes; after the first refusal nothing smaller either', () => {
  const allowance = createAllowance(LIMITS);
  assert.deepEqual(
    [60, 60, 1].map((bytes) => allowance.take(bytes, 0)),
    [true, false, false],
  );
});

test('a clock that is set back opens it', () => {
  const allowance = createAllowance(LIMITS);
  assert.equal(allowance.take(101, 5_000), false);
  assert.equal(allowance.open(4_000), true);
});
