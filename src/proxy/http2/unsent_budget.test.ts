import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnsentBudget } from './unsent_budget.ts';

const MIB = 1024 * 1024;

/** Clients that are each given 1 MiB per round, a hundred milliseconds apart; they take what `takes` says of it. */
function play(rounds: number, clients: readonly { readonly takes: number; readonly limit?: number }[]): boolean[] {
  let now = 1;
  const budget = new UnsentBudget(() => now);
  const holders = clients.map(({ takes, limit = Infinity }) => {
    const holder = {
      given: 0,
      unsent: 0,
      evicted: false,
      unsentBytes: () => holder.unsent,
      evict: () => {
        holder.evicted = true;
        budget.delete(holder);
      },
      play: () => {
        if (holder.evicted || holder.given >= limit) return;
        holder.given += MIB;
        holder.unsent += MIB - takes;
        budget.onGiven(MIB);
      },
    };
    budget.add(holder);
    return holder;
  });
  for (let round = 0; round < rounds; round++) {
    now += 100;
    for (const holder of holders) holder.play();
  }
  return holders.map(({ evicted }) => evicted);
}

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

test('within the budget nobody is evicted, whatever he takes', () => {
  assert.deepEqual(play(10, times(5, { takes: 0 })), times(5, false));
});

test('beyond it those go who take nothing, and only as many as it needs', () => {
  const clients = [...times(20, { takes: 0 }), ...times(20, { takes: MIB / 2 })];
  const evicted = play(20, clients);
  assert.ok(evicted.slice(0, 20).some(Boolean));
  assert.deepEqual(evicted.slice(20), times(20, false));
});

test('a byte now and then does not count as taking', () => {
  assert.ok(play(20, times(20, { takes: 100 })).some(Boolean));
});

test('who holds no more than his share stays', () => {
  const evicted = play(20, [...times(100, { takes: 0, limit: MIB }), { takes: 0 }]);
  assert.deepEqual(evicted, [...times(100, false), true]);
});
