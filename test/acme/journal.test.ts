/** Orders that are cut short, late or wrong: gone on with where they ended, and begun anew only when they are dead. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestFor, startSetup } from '../support/acme_setup.ts';
import type { Setup } from '../support/acme_setup.ts';
import { page, problem, processing, reset, rewrite, rewriteJson } from '../support/acme_shim.ts';
import type { ShimAnswer } from '../support/acme_shim.ts';
import { BudgetError, OrderError } from '../../src/certificates/acme/errors.ts';
import { classify } from '../../src/certificates/acme/failure.ts';
import { openJournal } from '../../src/certificates/acme/journal.ts';
import type { Journal } from '../../src/certificates/acme/journal.ts';
import { createLedger } from '../../src/certificates/ledger.ts';
import { StorageError } from '../../src/certificates/storage/storage.ts';

const HOST = 'a.example.com';

function journalOf({ storage, config }: Setup): Journal {
  return openJournal(storage, config.ca, HOST);
}

/** The CA cuts the line at a place: what was begun stays in the journal. */
async function cutAt(setup: Setup, endpoint: 'authorization' | 'finalize' | 'certificate'): Promise<void> {
  setup.shim.script(endpoint, reset);
  await assert.rejects(setup.obtain(HOST));
  setup.shim.clear(endpoint);
}

test('an order the CA has given up meanwhile is replaced, with the same key as long as nobody saw it', async () => {
  await using setup = await startSetup();
  await cutAt(setup, 'authorization');
  const cut = await journalOf(setup).read();
  assert.equal(cut?.entry.step, 'ordered');
  setup.shim.script(
    'order',
    rewriteJson((body) => ({ ...body, status: 'invalid' })),
    { times: 1 },
  );
  const { certificate } = await setup.obtain(HOST);
  assert.equal(setup.shim.count('newOrder'), 2);
  assert.equal(certificate.key, cut.key);
});

test('an order that was finalized and is given up is replaced with another key', async () => {
  await using setup = await startSetup();
  await cutAt(setup, 'certificate');
  const cut = await journalOf(setup).read();
  assert.equal(cut?.entry.step, 'finalizing');
  setup.shim.script('order', problem('malformed', 404), { times: 1 });
  const { certificate } = await setup.obtain(HOST);
  assert.equal(setup.shim.count('newOrder'), 2);
  assert.notEqual(certificate.key, cut.key);
});

test('a certificate that could not be fetched is fetched later: one order, one finalization', async () => {
  await using setup = await startSetup();
  setup.shim.script('certificate', page(502), { times: 2 });
  for (let attempt = 0; attempt < 2; attempt++) {
    const error: unknown = await setup.obtain(HOST).catch((reason: unknown) => reason);
    assert.equal(classify(error).class, 'server');
  }
  const obtained = await setup.restart().obtain(requestFor([HOST], setup.config));
  assert.equal(obtained.outcome, 'obtained');
  assert.deepEqual([setup.shim.count('newOrder'), setup.shim.count('finalize')], [1, 1]);
  assert.equal(setup.pebble.issued(), 1);
});

test('an order that is not ready yet is read again and finalized once more', async () => {
  await using setup = await startSetup();
  setup.shim.script('finalize', problem('orderNotReady', 403), { times: 1 });
  await setup.obtain(HOST);
  assert.equal(setup.shim.count('finalize'), 2);
  assert.equal(setup.shim.count('newOrder'), 1);
});

test('a finalization that failed on the way, and was done all the same, is found out', async () => {
  await using setup = await startSetup();
  setup.shim.script(
    'finalize',
    rewrite(() => ({ status: 500, headers: {}, body: '' })),
    { times: 1 },
  );
  await setup.obtain(HOST);
  assert.deepEqual([setup.shim.count('finalize'), setup.shim.count('newOrder')], [1, 1]);
  assert.equal(setup.pebble.issued(), 1);
});

test('a begun order waits, too, when the CA asked to be left alone, also after a restart', async () => {
  await using setup = await startSetup();
  let now = Date.now();
  const order = () =>
    setup.restart({ ledger: createLedger(setup.storage, () => now) }).obtain(requestFor([HOST], setup.config));
  setup.shim.script('finalize', problem('serverInternal', 503, { 'retry-after': '3600' }), { times: 1 });
  await assert.rejects(order(), /it is serverInternal/);
  const asked = setup.shim.count('order');
  await assert.rejects(order(), BudgetError);
  assert.equal(setup.shim.count('order'), asked);
  now += 3_601_000;
  assert.equal((await order()).outcome, 'obtained');
  assert.equal(setup.shim.count('newOrder'), 1);
});

test('a slow order is asked about as often as the CA wishes, at least a second apart', async () => {
  await using setup = await startSetup();
  setup.shim.script(
    'finalize',
    rewriteJson((body) => body, { 'retry-after': '1' }),
    { times: 1 },
  );
  const slow = { when: () => setup.shim.count('finalize') > 0 };
  setup.shim.script('order', processing({ 'retry-after': '2' }), { times: 1, ...slow });
  setup.shim.script('order', processing({ 'retry-after': '0' }), { times: 1, ...slow });
  await setup.obtain(HOST);
  const finalized = setup.shim.requests.findIndex(({ endpoint }) => endpoint === 'finalize');
  const asked = setup.shim.requests.slice(finalized).filter(({ endpoint }) => endpoint !== 'certificate');
  const gaps = asked.slice(1).map(({ at }, i) => at - (asked[i]?.at ?? 0));
  assert.equal(gaps.length, 3);
  const [first = 0, second = 0, third = 0] = gaps;
  assert.ok(first >= 950 && first < 1_900, String(gaps));
  assert.ok(second >= 1_900 && second < 4_000, String(gaps));
  assert.ok(third >= 950 && third < 1_900, String(gaps));
});

test('an order that takes too long is left to the journal, and is not ordered again', async () => {
  await using setup = await startSetup({ options: { processingTimeoutMs: 1_500 } });
  setup.shim.script('order', processing(), { when: () => setup.shim.count('finalize') > 0 });
  const error: unknown = await setup.obtain(HOST).catch((reason: unknown) => reason);
  assert.ok(error instanceof OrderError && error.code === 'unfinished', String(error));
  assert.equal((await journalOf(setup).read())?.entry.step, 'finalizing');
  setup.shim.clear();
  await setup.obtain(HOST);
  assert.deepEqual([setup.shim.count('newOrder'), setup.shim.count('finalize')], [1, 1]);
});

const WRONG: readonly (readonly [string, (answer: ShimAnswer, other: string) => ShimAnswer, RegExp])[] = [
  ['for another key and name', (answer, other) => ({ ...answer, body: other }), /not the certificate|private key/],
  ['without its chain', (answer) => ({ ...answer, body: leafOf(answer.body) }), /came alone/],
  ['with another chain', (answer, other) => ({ ...answer, body: leafOf(answer.body) + restOf(other) }), /chain/],
  ['that is garbage', (answer) => ({ ...answer, body: 'garbage' }), /no certificate|cannot be read/],
  [
    'that is JSON',
    (answer) => ({ ...answer, headers: { 'content-type': 'application/json' }, body: '{}' }),
    /what the CA gives/,
  ],
];
for (const [what, change, expected] of WRONG) {
  test(`a certificate ${what} is not installed; a second time ends its order`, async () => {
    await using other = await startSetup();
    const foreign = (await other.obtain('b.example.com')).certificate.chain;
    await using setup = await startSetup();
    setup.shim.script(
      'certificate',
      rewrite((answer) => change(answer, foreign)),
      { times: 2 },
    );
    for (let attempt = 0; attempt < 2; attempt++) {
      const error: unknown = await setup.obtain(HOST).catch((reason: unknown) => reason);
      assert.ok(error instanceof OrderError && error.code === 'rejected', String(error));
      assert.match(error.message, expected);
      assert.equal(classify(error).needsOperator, true);
      assert.equal(setup.installed.length, 0);
    }
    // One bad transfer costs no order; an order that is bad is not gone on with for ever.
    assert.equal(setup.shim.count('newOrder'), 1);
    await setup.obtain(HOST);
    assert.equal(setup.shim.count('newOrder'), 2);
  });
}

test('a certificate for fewer names than were ordered is not installed', async () => {
  await using setup = await startSetup();
  setup.shim.script(
    'newOrder',
    rewriteJson((body) => body),
  );
  const { certificate } = await setup.obtain(HOST);
  setup.shim.script(
    'certificate',
    rewrite((answer) => ({ ...answer, body: certificate.chain })),
  );
  await assert.rejects(
    setup.obtain([HOST, 'b.example.com'], { reuseKey: certificate.key }),
    /it lacks b\.example\.com/,
  );
  assert.equal(setup.installed.length, 1);
});

test('the predecessor is named where the CA says when to renew; refused, the order is made without, and counts', async () => {
  await using setup = await startSetup({ shim: { renewalInfo: true } });
  const replaces = { ca: setup.config.ca, certId: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE' };
  const sent = (): unknown[] =>
    setup.shim.requests.flatMap(({ endpoint, payload }) => (endpoint === 'newOrder' ? [payload?.['replaces']] : []));
  await setup.obtain(HOST, { replaces, exempt: true });
  assert.deepEqual(sent(), [replaces.certId]);
  for (const refusal of [problem('alreadyReplaced', 409), problem('malformed', 400), problem('unauthorized', 403)]) {
    setup.shim.clear('newOrder');
    setup.shim.script('newOrder', refusal, { when: ({ payload }) => payload?.['replaces'] !== undefined });
    await setup.obtain(HOST, { replaces, exempt: true });
    assert.deepEqual(sent().slice(-2), [replaces.certId, undefined]);
    // What the CA did not ask for is no exempt renewal.
    assert.deepEqual(
      setup.ledger.intents.slice(-2).map(({ exempt }) => exempt),
      [true, false],
    );
  }
});

test('an order with a predecessor that was cut short is gone on with: a second one would be refused', async () => {
  await using setup = await startSetup({ shim: { renewalInfo: true } });
  const replaces = { ca: setup.config.ca, certId: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE' };
  setup.shim.script('authorization', reset);
  await assert.rejects(setup.obtain(HOST, { replaces }));
  setup.shim.clear();
  setup.shim.script('newOrder', problem('alreadyReplaced', 409));
  await setup.obtain(HOST, { replaces });
  assert.equal(setup.shim.count('newOrder'), 1);
});

test('an order whose certificate is in use already is done: the next one begins anew', async () => {
  await using setup = await startSetup();
  const { certificate } = await setup.obtain(HOST, { install: () => Promise.reject(new StorageError('gone')) });
  const next = await setup.obtain(HOST, { currentSerial: certificate.serial });
  assert.notEqual(next.certificate.serial, certificate.serial);
  assert.equal(setup.shim.count('newOrder'), 2);
});

test('what is left of an order of last week is not gone on with', async () => {
  await using setup = await startSetup();
  await cutAt(setup, 'authorization');
  const { entry } = (await journalOf(setup).read()) ?? assert.fail('there is no journal');
  await journalOf(setup).write({ ...entry, startedAt: entry.startedAt - 8 * 86_400_000 });
  await setup.obtain(HOST);
  assert.equal(setup.shim.count('newOrder'), 2);
});

test('what is left of an order for other names, another key or another profile is not gone on with', async () => {
  await using setup = await startSetup({ shim: { profiles: ['shortlived'] } });
  for (const more of [
    { hosts: [HOST, 'b.example.com'] },
    { keyType: 'p384' },
    { issuer: { ...setup.config, profile: 'shortlived' } },
  ] as const) {
    await cutAt(setup, 'authorization');
    const orders = setup.shim.count('newOrder');
    await setup.obtain(HOST, more);
    assert.equal(setup.shim.count('newOrder'), orders + 1);
  }
});

function leafOf(chain: string): string {
  return chain.slice(0, chain.indexOf('-----END CERTIFICATE-----') + 26);
}

function restOf(chain: string): string {
  return chain.slice(leafOf(chain).length);
}
