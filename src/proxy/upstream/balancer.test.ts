import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceEntry } from '../../snapshot.ts';
import { choose } from './balancer.ts';
import type { Candidate } from './balancer.ts';

type Mutable = { -readonly [Key in keyof Candidate]: Candidate[Key] };

function candidates(...weights: readonly number[]): Mutable[] {
  return weights.map((weight, i) => ({ id: `w${i}`, weight, inFlight: 0, credit: 0 }));
}

function picks(
  policy: ServiceEntry['policy'],
  list: readonly Candidate[],
  count: number,
  affinity: (i: number) => string | null = () => null,
): string[] {
  return Array.from(
    { length: count },
    (_, turn) =>
      choose(policy, { candidates: list, tried: [], limit: Infinity, turn, affinity: affinity(turn) })?.id ?? 'none',
  );
}

function share(chosen: readonly string[], id: string): number {
  return chosen.filter((other) => other === id).length / chosen.length;
}

test('round robin takes each in turn, and a heavy one more often but not in a row', () => {
  assert.deepEqual(picks('round_robin', candidates(1, 1, 1), 6), ['w0', 'w1', 'w2', 'w0', 'w1', 'w2']);
  assert.deepEqual(picks('round_robin', candidates(5, 1, 1), 7), ['w0', 'w0', 'w1', 'w0', 'w2', 'w0', 'w0']);
});

test('least connections takes the least busy for its weight and spreads ties', () => {
  const list = candidates(1, 1, 1);
  assert.equal(new Set(picks('least_conn', list, 3)).size, 3);
  [2, 1, 3].forEach((inFlight, i) => Object.assign(list[i] ?? {}, { inFlight }));
  assert.deepEqual(picks('least_conn', list, 1), ['w1']);
  const weighted = candidates(1, 4);
  Object.assign(weighted[1] ?? {}, { inFlight: 2 });
  assert.deepEqual(picks('least_conn', weighted, 1), ['w1']);
});

test('random of two prefers the less busy, and gives everybody something', () => {
  const list = candidates(1, 1, 1, 1);
  Object.assign(list[0] ?? {}, { inFlight: 50 });
  const chosen = picks('random_two', list, 2_000);
  assert.equal(share(chosen, 'w0'), 0, 'of any two it is the busier');
  assert.ok(['w1', 'w2', 'w3'].every((id) => share(chosen, id) > 0.2));
});

test('hash binds a key to a target, follows the weights, and moves only the keys of a target that is gone', () => {
  const key = (i: number): string => `10.0.${i >> 8}.${i & 255}`;
  const list = candidates(1, 1, 2);
  const before = picks('hash', list, 4_000, key);
  assert.deepEqual(before, picks('hash', list, 4_000, key));
  assert.ok(Math.abs(share(before, 'w2') - 0.5) < 0.05);
  assert.ok(Math.abs(share(before, 'w0') - 0.25) < 0.05);
  const after = picks('hash', list.slice(1), 4_000, key);
  assert.ok(before.every((id, i) => id === 'w0' || id === after[i]));
});
