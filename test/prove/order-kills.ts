/** `kill -9` after every change an order makes on disk, and a hundred restarts that all die: one certificate, one account. */
import assert from 'node:assert/strict';
import { print } from '../../src/cli/terminal.ts';
import { assertOneOfEach, assertSettled, countsOf, startOrderBench } from '../support/order_bench.ts';

export const SUMMARY =
  'an order killed after each change of the storage, and 100 restarts that die: one certificate, one account, one order';

export async function prove(): Promise<void> {
  print(
    `killed after each of ${await killAfterEachChange()} changes: one certificate, one account, one order each time`,
  );
  await restartAHundredTimes();
  print('100 restarts that died before the certificate was kept: one order, one account');
}

async function killAfterEachChange(): Promise<number> {
  await using bench = await startOrderBench();
  let survived = false;
  let kills = 0;
  for (let change = 1; !survived; change++) {
    const folder = bench.begin();
    const before = countsOf(bench);
    const orders = bench.shim.count('newOrder');
    const at = `killed after change ${change}`;
    const first = await bench.run({ dieAfter: String(change) });
    survived = !first.killed;
    if (first.killed) kills++;
    const { killed, said } = await bench.run();
    assert.ok(!killed && /^(obtained|kept)$/.test(said), `${at}: ${said}`);
    assertOneOfEach(bench, before, at);
    // What is kept is never ahead of what is asked: no order is made twice.
    assert.equal(bench.shim.count('newOrder') - orders, 1, at);
    // Whoever dies between the certificate and its journal leaves it to the next renewal, which knows the serial number.
    await assertSettled(folder, bench, at, first.killed && said === 'kept');
  }
  // Account, key, intent, order, answer, finalization, generation, pointer, journal, ledger.
  assert.ok(kills >= 15, `${kills} kills`);
  return kills;
}

async function restartAHundredTimes(): Promise<void> {
  await using bench = await startOrderBench();
  const folder = bench.begin();
  const before = countsOf(bench);
  for (let restart = 0; restart < 100; restart++) {
    const { killed, said } = await bench.run({ dieAfter: '/key.pem' });
    // The account's key is the first of that name; then it is the generation's.
    assert.ok(killed, said);
  }
  assert.equal(bench.shim.count('newOrder'), 1);
  assert.equal((await bench.run()).said, 'obtained');
  assertOneOfEach(bench, before, 'after all');
  assert.equal(bench.shim.count('newOrder'), 1);
  assert.equal(bench.shim.count('finalize'), 1);
  await assertSettled(folder, bench, 'after all');
  // Another start has nothing to do.
  const asked = bench.shim.requests.length;
  assert.equal((await bench.run()).said, 'kept');
  assert.equal(bench.shim.requests.length, asked);
}
