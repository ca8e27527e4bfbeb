import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { endStreams } from './leaving.ts';
import { Target } from './service.ts';
import { targetEntry } from '../../../test/support/values.ts';

/** A target that has left, with so many streams; how many of them have ended. */
function leavingTarget(count: number) {
  const target = new Target(targetEntry('w'), 0);
  target.removed = true;
  let ended = 0;
  for (let i = 0; i < count; i++) target.streams.add({ endStream: () => void ended++ });
  return { target, ended: () => ended };
}

test('streams at a target that left go on for their time, then end one after the other within a second', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { target, ended } = leavingTarget(100);
  endStreams(target, 10_000);
  mock.timers.tick(9_999);
  assert.equal(ended(), 0);
  mock.timers.tick(1);
  mock.timers.tick(500);
  assert.ok(ended() >= 45 && ended() <= 55, String(ended()));
  mock.timers.tick(500);
  assert.equal(ended(), 100);
});

test('of thousands no more than 500 end in a second', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { target, ended } = leavingTarget(5_000);
  endStreams(target, 0);
  mock.timers.tick(0);
  for (let second = 1; second <= 10; second++) {
    const before = ended();
    mock.timers.tick(1_000);
    assert.ok(ended() - before <= 501, String(ended() - before));
  }
  assert.equal(ended(), 5_000);
});

test('streams of a target that came back meanwhile go on', (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ['setTimeout'] });
  const { target, ended } = leavingTarget(10);
  endStreams(target, 100);
  target.removed = false;
  mock.timers.tick(10_000);
  assert.equal(ended(), 0);
});
