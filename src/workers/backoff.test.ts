import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextStart, NO_HISTORY, PROXIES, WORKERS } from './backoff.ts';
import type { Fate, History, Restart } from './backoff.ts';

/** What follows from one end after another, each so many milliseconds after the one before. */
function follow(fates: readonly (Partial<Fate> & { readonly afterMs?: number })[], patience = WORKERS): Restart[] {
  let history: History = NO_HISTORY;
  let now = 0;
  return fates.map(({ afterMs = 0, ...fate }) => {
    now += afterMs;
    const next = nextStart({ readyForMs: null, reason: 'boot', luck: 0.5, ...fate, now }, history, patience);
    ({ history } = next);
    return next;
  });
}

const delays = (restarts: readonly Restart[]): number[] => restarts.map(({ delayMs }) => delayMs / 1_000);
const givenUp = (restarts: readonly Restart[]): boolean[] => restarts.map(({ fatal }) => fatal);
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

test('starts that come to nothing are tried after 1, 2, 4 and 8 s, then given up but for once a minute', () => {
  const restarts = follow(times(6, { afterMs: 30_000 }));
  assert.deepEqual(delays(restarts), [1, 2, 4, 8, 60, 60]);
  assert.deepEqual(givenUp(restarts), [false, false, false, false, true, true]);
});

test('pauses are up to a fifth longer or shorter', () => {
  const [shortest, longest] = [0, 1].map((luck) => delays(follow(times(5, { luck }))));
  assert.deepEqual(shortest, [0.8, 1.6, 3.2, 6.4, 48]);
  assert.deepEqual(longest, [1.2, 2.4, 4.8, 9.6, 72]);
});

test('starts at once, and from the beginning, after a stable run', () => {
  const [, stable] = follow([{}, { readyForMs: 10_000, reason: 'crash', afterMs: 20_000 }]);
  assert.deepEqual([stable?.delayMs, stable?.history.failures, stable?.fatal], [0, 0, false]);
});

test('a worker that was ready only for a moment has failed', () => {
  assert.deepEqual(delays(follow([{ readyForMs: 9_999, reason: 'crash' }])), [1]);
});

test('five ends of its own doing within two minutes give it up, however long each was ready', () => {
  const end = { readyForMs: 15_000, reason: 'crash', afterMs: 20_000 } as const;
  assert.deepEqual(givenUp(follow(times(5, end))), [false, false, false, false, true]);
  assert.ok(follow(times(20, { ...end, afterMs: 40_000 })).every(({ fatal }) => !fatal));
});

test('what cannot be run is given up at once', () => {
  assert.deepEqual(follow([{ reason: 'command' }]), [
    { delayMs: 60_000, fatal: true, history: { failures: 1, unready: 1, portsTaken: 0, ends: [0] } },
  ]);
});

test('signals from outside, and want of memory, are no fault of the worker', () => {
  for (const reason of ['killed', 'signal', 'oom', 'liveness'] as const) {
    const restarts = follow(times(20, { readyForMs: 11_000, reason, afterMs: 2_000 }));
    assert.ok(restarts.every(({ fatal, delayMs }) => !fatal && delayMs === 0));
  }
});

test('who is killed again and again as soon as it is ready is started again after a second each time', () => {
  assert.deepEqual(delays(follow(times(20, { readyForMs: 500, reason: 'killed', afterMs: 2_000 }))), times(20, 1));
  assert.deepEqual(delays(follow(times(3, { readyForMs: 500, reason: 'oom', afterMs: 2_000 }))), [1, 2, 4]);
  assert.deepEqual(delays(follow(times(3, { reason: 'killed' }))), [1, 2, 4]);
});

test('one whose port was taken gets another three times, without a pause; then it has failed as others do', () => {
  const restarts = follow(times(8, { reason: 'port_taken' }));
  assert.deepEqual(delays(restarts), [0, 0, 0, 1, 2, 4, 8, 60]);
  assert.deepEqual(delays(follow([...times(3, { reason: 'port_taken' } as const), {}])), [0, 0, 0, 1]);
});

test('proxies are never given up for their ends, only for starts that come to nothing', () => {
  const crash = { readyForMs: 3_000, reason: 'crash', afterMs: 3_000 } as const;
  assert.ok(follow(times(50, crash), PROXIES).every(({ fatal, delayMs }) => !fatal && delayMs === 0));
  assert.deepEqual(delays(follow(times(6, {}), PROXIES)), [0.1, 1, 5, 15, 60, 60]);
  const momentary = { readyForMs: 2_999, reason: 'crash' } as const;
  assert.deepEqual(delays(follow(times(6, momentary), PROXIES)), [0.1, 1, 5, 15, 60, 60]);
  assert.ok(follow(times(6, momentary), PROXIES).every(({ fatal }) => !fatal));
});
