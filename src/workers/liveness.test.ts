import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from './liveness.ts';
import type { Observed } from './liveness.ts';

const worker = (id: string, more: Partial<Observed> = {}): Observed => ({
  id,
  unhealthy: false,
  killing: false,
  oldestUnansweredMs: 0,
  ...more,
});
const silent = (id: string): Observed => worker(id, { oldestUnansweredMs: 30_000, unhealthy: true });

test('one of four that says nothing for its time is killed', () => {
  const workers = [silent('a'), worker('b'), worker('c'), worker('d', { oldestUnansweredMs: 29_999 })];
  assert.deepEqual(judge(workers, 30_000), { hung: ['a'], panic: false });
});

test('when half of them are silent nobody is killed', () => {
  assert.deepEqual(judge([silent('a'), silent('b'), worker('c'), worker('d')], 30_000), { hung: [], panic: true });
  assert.deepEqual(judge([silent('a'), worker('b', { unhealthy: true }), worker('c'), worker('d')], 30_000), {
    hung: [],
    panic: true,
  });
  assert.equal(judge(['a', 'b', 'c', 'd'].map(silent), 30_000).panic, true);
});

test('of many no more than a quarter are killed at once', () => {
  const workers = ['a', 'b', 'c'].map(silent).concat(Array.from({ length: 9 }, (_, i) => worker(`w${i}`)));
  assert.deepEqual(judge(workers, 30_000).hung, ['a', 'b', 'c']);
  const begun = workers.map((one) => (one.id === 'a' || one.id === 'b' ? { ...one, killing: true } : one));
  assert.deepEqual(judge(begun, 30_000).hung, ['c']);
  assert.deepEqual(judge([...begun.slice(0, 2), silent('x'), ...workers.slice(5, 9)], 30_000).hung, []);
});

test('a worker alone is judged by its silence', () => {
  assert.deepEqual(judge([silent('a')], 30_000).hung, ['a']);
});

test('a worker that answers is not killed for failing its checks', () => {
  assert.deepEqual(judge([worker('a', { unhealthy: true }), worker('b'), worker('c')], 30_000).hung, []);
});
