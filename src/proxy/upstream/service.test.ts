import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceEntry, targetEntry } from '../../../test/support/values.ts';
import { BUCKETS_MS } from '../../request_counts.ts';
import type { ServiceEntry, TargetEntry } from '../../snapshot.ts';
import { createAffinitySource } from './affinity.ts';
import { Service, Target } from './service.ts';
import type { Held } from './service.ts';
import type { Clock } from '../clock.ts';

function fakeClock(): Clock & { at: number } {
  const clock = { at: 1_000, recent: 0, now: () => clock.at, add: () => {}, delete: () => {}, stop: () => {} };
  return clock;
}

function serviceOf(changes: Partial<ServiceEntry>, entries: readonly TargetEntry[]) {
  const clock = fakeClock();
  const web = new Service(
    serviceEntry(changes),
    clock,
    createAffinitySource(() => 'c2VjcmV0'),
  );
  const targets = entries.map((entry) => new Target(entry, clock.now()));
  web.update(web.entry, targets);
  return { web, clock, targets };
}

const names = (count: number): TargetEntry[] => Array.from({ length: count }, (_, i) => targetEntry(`w${i}`));

test('never gives a target that was tried, and null when there is no other', () => {
  for (const policy of ['least_conn', 'round_robin', 'random_two', 'hash'] as const) {
    const { web } = serviceOf({ policy, hash: { by: 'client' } }, names(2));
    const first = web.pick([], '10.0.0.1');
    assert.ok(first);
    const second = web.pick([first], '10.0.0.1');
    assert.ok(second);
    assert.notEqual(first, second);
    assert.equal(web.pick([first, second], '10.0.0.1'), null);
  }
});

test('so many failures in a row put a target out for a while, but never the last one', () => {
  const { web, clock, targets } = serviceOf({ ejectAfter: 3, ejectMs: 10_000 }, names(2));
  const [a, b] = targets;
  assert.ok(a && b);
  for (let i = 0; i < 2; i++) web.targetFailed(a);
  a.succeeded();
  web.targetFailed(a);
  assert.equal(web.pick([b], null), a, 'a success begins the count anew');
  for (let i = 0; i < 2; i++) web.targetFailed(a);
  assert.equal(web.pick([b], null), null);
  for (let i = 0; i < 9; i++) web.targetFailed(b);
  assert.equal(web.pick([], null), b, 'somebody must be asked');
  clock.at += 10_000;
  assert.equal(web.pick([b], null), a, 'it is back');
});

test('unhealthy targets are asked only when they are most of them, and not when they are all', () => {
  const ill = (id: string): TargetEntry => targetEntry(id, { healthy: false });
  const picked = (entries: TargetEntry[]): string[] => {
    const { web } = serviceOf({ policy: 'round_robin' }, entries);
    return [...new Set(Array.from({ length: 12 }, () => web.pick([], null)?.id ?? 'none'))].toSorted();
  };
  assert.deepEqual(picked([targetEntry('a'), targetEntry('b'), ill('c')]), ['a', 'b']);
  assert.deepEqual(picked([targetEntry('a'), ill('b'), ill('c')]), ['a', 'b', 'c']);
  assert.deepEqual(picked([ill('a'), ill('b')]), ['none']);
});

test('a new target starts slowly', () => {
  const { web, clock, targets } = serviceOf({ policy: 'round_robin', slowStartMs: 10_000 }, names(1));
  clock.at += 60_000;
  const young = new Target(targetEntry('young'), clock.now());
  web.update(web.entry, [...targets, young]);
  const share = (): number => Array.from({ length: 110 }, () => web.pick([], null)).filter((t) => t === young).length;
  assert.equal(share(), 10);
  clock.at += 5_000;
  assert.ok(share() > 30);
  clock.at += 5_000;
  assert.equal(share(), 55);
});

test('new targets among themselves share as they always will', () => {
  const { web, clock, targets } = serviceOf({ policy: 'round_robin', slowStartMs: 10_000 }, names(1));
  clock.at += 2_000;
  const younger = new Target(targetEntry('younger'), clock.now());
  web.update(web.entry, [...targets, younger]);
  const picks = Array.from({ length: 100 }, () => web.pick([], null));
  assert.equal(picks.filter((target) => target === younger).length, 50);
});

test('requests wait for a target, so many and so long', () => {
  const { web, clock } = serviceOf({ queueMax: 2, queueTimeoutMs: 5_000 }, []);
  const heard: string[] = [];
  const held = (name: string): Held => ({
    onTargets: () => heard.push(`${name} targets`),
    onHoldEnd: () => heard.push(`${name} end`),
  });
  const [a, b, c] = [held('a'), held('b'), held('c')];
  assert.equal(web.hold(a), true);
  clock.at += 1_000;
  assert.equal(web.hold(b), true);
  assert.equal(web.hold(c), false);
  web.sweep(clock.at + 4_000);
  assert.deepEqual(heard, ['a end']);
  web.update(web.entry, [new Target(targetEntry('w'), clock.now())]);
  assert.deepEqual(heard, ['a end', 'b targets']);
  web.close();
  assert.deepEqual(heard, ['a end', 'b targets', 'b end']);
});

test('tells how long those waited that wait no more, and what else became of requests', () => {
  const { web, clock, targets } = serviceOf(
    { queueMax: 5, queueTimeoutMs: 1_000, ejectAfter: 1, ejectMs: 10_000 },
    names(2),
  );
  const held = { onTargets: () => {}, onHoldEnd: () => {} };
  assert.ok(web.hold(held));
  assert.deepEqual([web.stats(clock.at).queued, web.stats(clock.at).waits.every((count) => count === 0)], [1, true]);
  clock.at += 40;
  web.unhold(held);
  // Who waits no more has waited once.
  web.unhold(held);
  web.retried();
  assert.ok(targets[0]);
  web.targetFailed(targets[0]);
  const { queued, waits, retries, ejections } = web.stats(clock.at);
  assert.deepEqual([queued, retries, ejections], [0, 1, 1]);
  assert.deepEqual([waits[BUCKETS_MS.indexOf(50)], waits.at(-1)], [1, 40]);
  assert.equal(
    waits.slice(0, -1).reduce((sum, count) => sum + count, 0),
    1,
  );
});
