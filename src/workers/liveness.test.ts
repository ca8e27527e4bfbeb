import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge as judgeAll } from './liveness.ts';
import type { Judgement, Observed } from './liveness.ts';

const worker = (id: string, more: Partial<Observed> = {}): Observed => ({
  id,
  unhealthyForMs: 0,
  killing: false,
  oldestUnansweredMs: 0,
  silentMs: 0,
  ...more,
});
const judge = (
  workers: readonly Observed[],
  livenessMs: number,
  calmForMs = Infinity,
): Omit<Judgement, 'suspected'> => {
  const { hung, panic } = judgeAll(workers, livenessMs, calmForMs);
  return { hung, panic };
};
const silent = (id: string): Observed => worker(id, { oldestUnansweredMs: 30_000, silentMs: 30_000 });
const unhealthy = (id: string): Observed => worker(id, { unhealthyForMs: 1 });

test('one of four that says nothing for its time is killed', () => {
  const workers = [silent('a'), worker('b'), worker('c'), worker('d')];
  assert.deepEqual(judge(workers, 30_000), { hung: ['a'], panic: false });
  assert.deepEqual(judge([{ ...silent('a'), silentMs: 29_999 }, ...workers.slice(1)], 30_000).hung, []);
  assert.deepEqual(judge([{ ...silent('a'), oldestUnansweredMs: 29_999 }, ...workers.slice(1)], 30_000).hung, []);
});

test('when half of them are silent nobody is killed', () => {
  assert.deepEqual(judge([silent('a'), silent('b'), worker('c'), worker('d')], 30_000), { hung: [], panic: true });
  assert.deepEqual(judge([silent('a'), unhealthy('b'), worker('c'), worker('d')], 30_000), {
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

test('of two workers, one that hangs is killed while the other answers', () => {
  assert.deepEqual(judge([silent('a'), worker('b')], 30_000).hung, ['a']);
  assert.deepEqual(judge([silent('a'), unhealthy('b')], 30_000), { hung: [], panic: true });
  assert.deepEqual(judge([silent('a'), { ...silent('b'), killing: true }], 30_000), { hung: [], panic: true });
});

test('when all hang, the first whose time is up is not taken for the only one', () => {
  const later = (id: string): Observed => worker(id, { oldestUnansweredMs: 20_000, silentMs: 20_000 });
  assert.deepEqual(judge([silent('a'), later('b'), later('c'), later('d')], 30_000), { hung: [], panic: true });
  assert.deepEqual(judge([silent('a'), later('b')], 30_000), { hung: [], panic: true });
});

test('a worker that takes long over one request and answers others does not hang', () => {
  const busy = worker('a', { oldestUnansweredMs: 300_000, silentMs: 100 });
  assert.deepEqual(judge([busy, worker('b'), worker('c'), worker('d')], 30_000), { hung: [], panic: false });
  assert.deepEqual(judge([busy], 30_000).hung, []);
});

test('one that fails its checks with an answer is not killed, one that says nothing for its time is', () => {
  const others = [worker('b'), worker('c'), worker('d')];
  assert.deepEqual(judge([worker('a', { unhealthyForMs: 60_000, silentMs: 900 }), ...others], 30_000).hung, []);
  assert.deepEqual(judge([worker('a', { unhealthyForMs: 29_000, silentMs: 60_000 }), ...others], 30_000).hung, []);
  assert.deepEqual(judge([worker('a', { unhealthyForMs: 30_000, silentMs: 60_000 }), ...others], 30_000).hung, ['a']);
});

test('whoever is silent for half of its time is to be asked', () => {
  const half = worker('a', { oldestUnansweredMs: 15_000, silentMs: 15_000 });
  const workers = [half, worker('b', { oldestUnansweredMs: 15_000 }), worker('c'), worker('d')];
  assert.deepEqual(judgeAll(workers, 30_000, Infinity), { suspected: ['a'], hung: [], panic: false });
});

test('after a time when nobody answered, the last to answer again has as long as any', () => {
  const workers = [silent('a'), worker('b'), worker('c'), worker('d')];
  assert.deepEqual(judge(workers, 30_000, 29_000), { hung: [], panic: false });
  assert.deepEqual(judge(workers, 30_000, 30_000).hung, ['a']);
});
