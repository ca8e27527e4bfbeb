import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRecord, isStale, look, ownRecord, parseRecord } from './lock_watch.ts';
import type { Sighting } from './lock_watch.ts';

const elsewhere = { ...ownRecord('t'), boot: 'another machine' };

/** Looks every `everyMs` of the waiter's clock, from `from` on; `text` tells what stands there then. */
function watch(everyMs: number, looks: number, text: (i: number) => string, from = 0): Sighting {
  let sighting: Sighting | null = null;
  for (let i = 0; i <= looks; i++) sighting = look(sighting, text(i), from + i * everyMs);
  assert.ok(sighting !== null);
  return sighting;
}

test('a record that stays the same for two beats and a bit is stale, seen from its first sight on', () => {
  const same = formatRecord(elsewhere, 7);
  assert.equal(isStale(watch(100, 119, () => same)), false);
  assert.equal(isStale(watch(100, 120, () => same)), true);
});

test('a record that changes now and then never goes stale', () => {
  const beating = watch(100, 5_000, (i) => formatRecord(elsewhere, Math.floor(i / 110)));
  assert.equal(isStale(beating), false);
});

test('no date has a say: only how long the waiter looked', () => {
  // A waiter that started long ago, and one whose clock begins at 0, see the same.
  const same = formatRecord(elsewhere, 0);
  assert.equal(isStale(watch(100, 10, () => same, 1e12)), false);
  assert.equal(isStale(watch(100, 120, () => same, 1e12)), true);
});

test('a waiter that slept for six hours does not take the holder, who slept as well, for dead', () => {
  const same = formatRecord(elsewhere, 0);
  const slept = look(look(null, same, 0), same, 6 * 3_600_000);
  assert.equal(isStale(slept), false);
});

test('what cannot be read as a record is stale after 2 s', () => {
  for (const text of ['', '{', 'null', '{"token":1}']) {
    assert.equal(isStale(watch(100, 19, () => text)), false, text);
    assert.equal(isStale(watch(100, 20, () => text)), true, text);
  }
});

test('our own process is alive; a number it had before another start is not', () => {
  assert.equal(isStale(look(null, formatRecord(ownRecord('t'), 0), 0)), false);
  const earlier = { ...ownRecord('t'), startTime: 1 };
  assert.equal(isStale(look(null, formatRecord(earlier, 0), 0)), true);
  assert.equal(isStale(look(null, formatRecord({ ...earlier, namespace: 'pid:[1]' }, 0), 0)), false);
});

test('a beat changes the record and not its length', () => {
  const own = ownRecord('t');
  assert.notEqual(formatRecord(own, 9), formatRecord(own, 10));
  assert.equal(formatRecord(own, 9).length, formatRecord(own, 10_000).length);
  assert.deepEqual(parseRecord(formatRecord(own, 3)), own);
});
