import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextStart, NO_HISTORY } from './backoff.ts';
import type { Fate, History, Restart } from './backoff.ts';

/** What follows from one end after another, each so many milliseconds after the one before. */
function follow(
  fates: readonly (Omit<Fate, 'now' | 'hopeless'> & { readonly hopeless?: boolean; readonly afterMs?: number })[],
): Restart[] {
  let history: History = NO_HISTORY;
  let now = 0;
  return fates.map(({ afterMs = 0, hopeless = false, ...fate }) => {
    now += afterMs;
    const next = nextStart({ ...fate, hopeless, now }, history);
    ({ history } = next);
    return next;
  });
}

const delays = (restarts: readonly Restart[]): number[] => restarts.map(({ delayMs }) => delayMs / 1_000);

test('starts that come to nothing are tried after 1, 2, 4 and 8 s, then given up but for once a minute', () => {
  const never = { readyForMs: null, killed: false, afterMs: 30_000 };
  const restarts = follow([never, never, never, never, never, never]);
  assert.deepEqual(delays(restarts), [1, 2, 4, 8, 60, 60]);
  assert.deepEqual(
    restarts.map(({ fatal }) => fatal),
    [false, false, false, false, true, true],
  );
});

test('starts at once, and from the beginning, after a stable run', () => {
  const [, stable] = follow([
    { readyForMs: null, killed: false },
    { readyForMs: 10_000, killed: false, afterMs: 20_000 },
  ]);
  assert.deepEqual([stable?.delayMs, stable?.history.failures, stable?.fatal], [0, 0, false]);
});

test('a worker that was ready only for a moment has failed', () => {
  assert.deepEqual(delays(follow([{ readyForMs: 9_999, killed: false }])), [1]);
});

test('five ends of its own within two minutes give it up, however long each was ready', () => {
  const end = { readyForMs: 15_000, killed: false, afterMs: 20_000 };
  assert.deepEqual(
    follow([end, end, end, end, end]).map(({ fatal }) => fatal),
    [false, false, false, false, true],
  );
  const seldom = { ...end, afterMs: 40_000 };
  assert.ok(follow(Array.from({ length: 20 }, () => seldom)).every(({ fatal }) => !fatal));
});

test('signals from outside are no fault of the worker', () => {
  const killed = { readyForMs: 11_000, killed: true, afterMs: 2_000 };
  assert.ok(follow(Array.from({ length: 20 }, () => killed)).every(({ fatal, delayMs }) => !fatal && delayMs === 0));
});

test('what cannot be run at all is given up at once, and still tried once a minute', () => {
  const missing = { readyForMs: null, killed: false, hopeless: true };
  const restarts = follow([missing, missing]);
  assert.deepEqual(delays(restarts), [60, 60]);
  assert.ok(restarts.every(({ fatal }) => fatal));
});
