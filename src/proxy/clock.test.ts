import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClock } from './clock.ts';

test('between many whose time is up, others are served', async () => {
  const clock = createClock();
  const done = Promise.withResolvers<void>();
  const count = 20;
  let swept = 0;
  let sweptBeforeOthers = 0;
  const sweep = (): void => {
    if (swept === 0) setImmediate(() => (sweptBeforeOthers = swept));
    for (const until = performance.now() + 2; performance.now() < until;);
    if (++swept === count) done.resolve();
  };
  for (let i = 0; i < count; i++) clock.add({ sweep });
  // The clock's own timer keeps no process alive.
  const alive = setInterval(() => {}, 1_000);
  await done.promise;
  clearInterval(alive);
  clock.stop();
  assert.ok(sweptBeforeOthers > 0 && sweptBeforeOthers < count, `${sweptBeforeOthers} of ${count}`);
});
