import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coalesce, createPace, createSlots } from './pace.ts';

test('no more run at once than there are slots, and all do, also after failures', async () => {
  const slot = createSlots(3);
  let running = 0;
  let most = 0;
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) =>
      slot(async () => {
        most = Math.max(most, ++running);
        await new Promise(setImmediate);
        running--;
        if (i % 4 === 0) throw new Error('no');
      }),
    ),
  );
  assert.equal(most, 3);
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 15);
});

test('a pace lets so many through in a time and no more, wherever that time begins', async () => {
  const pace = createPace(5, 100);
  const { signal } = new AbortController();
  const times: number[] = [];
  await Promise.all(
    Array.from({ length: 17 }, async () => {
      await pace(signal);
      times.push(performance.now());
    }),
  );
  times.sort((a, b) => a - b);
  for (let i = 5; i < times.length; i++) assert.ok((times[i] ?? 0) - (times[i - 5] ?? 0) >= 99);
  assert.equal(times.length, 17);
});

test('calls during a run share one run after it, which has seen what they changed', async () => {
  let value = 0;
  const seen: number[] = [];
  const publish = coalesce(async () => {
    const now = value;
    await new Promise(setImmediate);
    seen.push(now);
  });
  value = 1;
  const first = publish();
  value = 2;
  const others = [publish(), publish(), publish()];
  await first;
  assert.deepEqual(seen, [1]);
  await Promise.all(others);
  assert.deepEqual(seen, [1, 2]);
  value = 3;
  await publish();
  assert.deepEqual(seen, [1, 2, 3]);
});
