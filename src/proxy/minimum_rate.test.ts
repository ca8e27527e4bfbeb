import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MinimumRate } from './minimum_rate.ts';

test('too slow is who moved too little in a whole window of waiting', () => {
  const rate = new MinimumRate();
  assert.equal(rate.isTooSlow(0, true, 1_000, 100), false);
  assert.equal(rate.isTooSlow(50, true, 5_900, 100), false, 'not before the window is over');
  assert.equal(rate.isTooSlow(499, true, 6_000, 100), true);
  assert.equal(rate.isTooSlow(1_100, true, 11_000, 100), false);
  assert.equal(rate.isTooSlow(1_100, false, 15_000, 100), false, 'nothing to move');
  assert.equal(rate.isTooSlow(1_100, true, 21_000, 100), false, 'the window begins anew');
});

test('a rate of 0 is off', () => {
  const rate = new MinimumRate();
  for (let now = 1; now < 60_000; now += 500) assert.equal(rate.isTooSlow(0, true, now, 0), false);
});
