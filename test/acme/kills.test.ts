/**
 * `kill -9` at any moment of an order: whoever starts next finishes it. Here the child dies right after an answer of the CA,
 * which is ahead of the disk; `npm run prove order-kills` kills it after every change of the storage, too.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { rewrite } from '../support/acme_shim.ts';
import type { Endpoint } from '../support/acme_shim.ts';
import { assertOneOfEach, assertSettled, countsOf, startOrderBench } from '../support/order_bench.ts';
import { findAnswer, removeExpiredAnswers } from '../../src/certificates/solvers/kept_answers.ts';
import { createFileStorage } from '../../src/certificates/storage/file_storage.ts';
import { issuerSlug } from '../../src/certificates/storage/keys.ts';
import { createCertificateStore } from '../../src/certificates/store.ts';

const HOST = 'a.example.com';

const STEPS: readonly Endpoint[] = [
  'newAccount',
  'newOrder',
  'authorization',
  'challenge',
  'order',
  'finalize',
  'certificate',
];
test('killed when the CA has acted and nobody has written it down: one certificate, one account', async () => {
  await using bench = await startOrderBench();
  for (const endpoint of STEPS) {
    const folder = bench.begin();
    const before = countsOf(bench);
    let child: ChildProcess | null = null;
    bench.shim.script(
      endpoint,
      rewrite((answer) => {
        child?.kill('SIGKILL');
        return answer;
      }),
      { times: 1 },
    );
    const first = await bench.run({ started: (started) => void (child = started) });
    assert.ok(first.killed, endpoint);
    const { killed, said } = await bench.run();
    assert.ok(!killed && said === 'obtained', `${endpoint}: ${said}`);
    assertOneOfEach(bench, before, endpoint);
    await assertSettled(folder, bench, endpoint);
  }
});

test('a journal that outlived its certificate does not pass the old one off as the next', async () => {
  await using bench = await startOrderBench();
  const folder = bench.begin();
  assert.ok((await bench.run({ dieAfter: '/current' })).killed);
  assert.equal((await bench.run()).said, 'kept');
  const store = createCertificateStore(createFileStorage(folder));
  const serial = async (): Promise<string> =>
    (await store.load(issuerSlug(bench.shim.directoryUrl), HOST)).certificate?.serial ?? '';
  const replaced = await serial();
  assert.equal((await bench.run({ replaced })).said, 'obtained');
  assert.notEqual(await serial(), replaced);
  assert.equal(bench.shim.count('newOrder'), 2);
  await assertSettled(folder, bench, 'after the renewal');
});

test('of two instances that find it due at once one orders, and both have it', async () => {
  await using bench = await startOrderBench();
  const folder = bench.begin();
  const said = (await Promise.all([bench.run(), bench.run()])).map((it) => it.said).toSorted();
  assert.ok(said.includes('obtained') && (said.includes('not_needed') || said.includes('kept')), said.join());
  assert.equal(bench.shim.count('newOrder'), 1);
  assert.equal(bench.pebble.accounts(), 1);
  await assertSettled(folder, bench, 'after both');
});

test('answers that nobody is left to take away are not given for long', async () => {
  await using bench = await startOrderBench();
  const folder = bench.begin();
  const { killed } = await bench.run({ dieAfter: 'challenges/' });
  assert.ok(killed);
  const tokens = readdirSync(path.join(folder, 'challenges/http-01'));
  assert.equal(tokens.length, 1);
  const storage = createFileStorage(folder);
  const later = Date.now() + 11 * 60_000;
  assert.equal(await findAnswer(storage, 'http-01', tokens[0] ?? '', later), null);
  await removeExpiredAnswers(storage, later);
  assert.deepEqual(await storage.list('challenges/http-01'), []);
});
