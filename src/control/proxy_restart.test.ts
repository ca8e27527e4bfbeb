import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextProxyStart } from './proxy_restart.ts';

test('a proxy that served for a while is replaced at once, one that does not come up after longer and longer', () => {
  assert.deepEqual(nextProxyStart({ readyForMs: 3_000, failures: 4 }), { delayMs: 0, failures: 0 });
  const delays: number[] = [];
  let failures = 0;
  for (const readyForMs of [2_999, null, 0, null, null, null, null]) {
    const next = nextProxyStart({ readyForMs, failures });
    delays.push(next.delayMs);
    ({ failures } = next);
  }
  assert.deepEqual(delays, [100, 1_000, 5_000, 15_000, 60_000, 60_000, 60_000]);
});
