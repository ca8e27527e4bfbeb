/** What a CA refuses, limits or fails at: told with its type, at once, and not asked again behind anybody's back. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import * as acme from 'acme-client';
import { requestFor, startSetup } from '../support/acme_setup.ts';
import type { Setup } from '../support/acme_setup.ts';
import { badNonce, empty, page, problem, reset, rewriteJson, stall } from '../support/acme_shim.ts';
import type { Behaviour, Endpoint } from '../support/acme_shim.ts';
import { ROOT } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { run } from '../support/processes.ts';
import { AcmeProblem, AcmeTransportError, BudgetError, ValidationError } from '../../src/certificates/acme/errors.ts';
import { classify } from '../../src/certificates/acme/failure.ts';
import { createLedger } from '../../src/certificates/ledger.ts';
import type { Ledger } from '../../src/certificates/ledger.ts';
import { openJournal } from '../../src/certificates/acme/journal.ts';
import { StorageError } from '../../src/certificates/storage/storage.ts';

async function failureOf(work: Promise<unknown>): Promise<Error> {
  const reason: unknown = await work.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  );
  assert.ok(reason instanceof Error);
  return reason;
}

/** Nothing is armed, and no lock is held: another order has its turn at once. */
async function assertNothingHeld(setup: Setup): Promise<void> {
  assert.equal(setup.answers.armed.size, 0);
  const turn = setup.storage.withLock('orders/none', AbortSignal.timeout(1_000), () => Promise.resolve('held'));
  assert.equal(await turn, 'held');
}

test("every request is ours, none the library's own", async () => {
  const before = acme.axios.defaults.adapter;
  acme.axios.defaults.adapter = () => assert.fail('axios was used');
  try {
    await using setup = await startSetup();
    await setup.obtain('a.example.com');
    // The account's address is known: nine requests and one nonce for a whole certificate.
    await setup.issuer.rolloverAccountKey(setup.config, AbortSignal.timeout(10_000));
  } finally {
    if (before !== undefined) acme.axios.defaults.adapter = before;
  }
});

test('the library is loaded with the first order, not before', async () => {
  const issuer = path.join(ROOT, 'src/certificates/acme/issuer.ts');
  const script = `await import(${JSON.stringify(issuer)});
    const { createRequire } = await import('node:module');
    const names = Object.keys(createRequire(${JSON.stringify(issuer)}).cache);
    process.stdout.write(String(names.filter((name) => name.includes('acme-client')).length));`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', script]);
  assert.equal(stdout, '0', stderr);
});

const EVERY_ENDPOINT: readonly Endpoint[] = [
  'directory',
  'newNonce',
  'newAccount',
  'newOrder',
  'authorization',
  'challenge',
  'order',
  'finalize',
  'certificate',
];
const OUTAGES: readonly (readonly [string, Behaviour, string])[] = [
  ['is cut', reset, 'ECONNRESET'],
  ['stalls', stall, 'ETIMEDOUT'],
];
for (const [how, behaviour, code] of OUTAGES) {
  test(`a CA that ${how} is told by its code, wherever that happens, and what was begun is gone on with`, async () => {
    await using setup = await startSetup({ options: { requestTimeoutMs: 400 } });
    for (const endpoint of EVERY_ENDPOINT) {
      const issued = setup.pebble.issued();
      await setup.storage.remove('accounts');
      setup.shim.script(endpoint, behaviour);
      const error = await failureOf(setup.obtain('a.example.com'));
      assert.ok(error instanceof AcmeTransportError, `${endpoint}: ${String(error)}`);
      assert.equal(error.code, code, endpoint);
      assert.equal(classify(error).class, 'transport');
      await assertNothingHeld(setup);
      setup.shim.clear(endpoint);
      // The order that was begun is the one that is finished.
      const orders = setup.shim.count('newOrder');
      await setup.obtain('a.example.com');
      const again = ['directory', 'newNonce', 'newAccount', 'newOrder'].includes(endpoint) ? 1 : 0;
      assert.equal(setup.shim.count('newOrder') - orders, again, endpoint);
      assert.equal(setup.pebble.issued() - issued, 1, endpoint);
    }
  });
}

test('a CA that is not there, or not by that name, is told by its code', async () => {
  await using setup = await startSetup();
  const at = (ca: string) => failureOf(setup.obtain('a.example.com', { issuer: { ...setup.config, ca } }));
  const refused = await at('https://localhost:1/dir');
  assert.ok(refused instanceof AcmeTransportError && refused.code === 'ECONNREFUSED', String(refused));
  const nameless = await at('https://ca.invalid/dir');
  assert.ok(nameless instanceof AcmeTransportError, String(nameless));
  assert.match(nameless.code, /^(ENOTFOUND|EAI_AGAIN)$/);
  const stranger = await failureOf(setup.obtain('a.example.com', { issuer: { ...setup.config, trustedRoots: [] } }));
  assert.ok(stranger instanceof AcmeTransportError, String(stranger));
  assert.match(stranger.code, /SELF_SIGNED|UNABLE_TO_VERIFY/);
});

for (const [what, header, expected] of [
  ['an hour', () => '3600', 3_600_000],
  ['40 days', () => '3456000', 3_456_000_000],
  ['34 hours, as a date', () => new Date(Date.now() + 34 * 3_600_000).toUTCString(), 34 * 3_600_000],
] as const) {
  test(`a rate limit of ${what} ends the order at once, holds nothing, and is heeded after a restart`, async () => {
    await using setup = await startSetup();
    setup.shim.script('newOrder', problem('rateLimited', 429, { 'retry-after': header() }), { times: 1 });
    const ledger = (): Ledger => createLedger(setup.storage);
    const order = () => setup.restart({ ledger: ledger() }).obtain(requestFor(['a.example.com'], setup.config));
    const begun = Date.now();
    const error = await failureOf(order());
    assert.ok(error instanceof AcmeProblem, String(error));
    const { class: kind, retryAt, code } = classify(error);
    assert.deepEqual([kind, code], ['rate_limited', 6]);
    assert.ok(Math.abs((retryAt ?? 0) - begun - expected) < 5_000, String(retryAt));
    assert.ok(Date.now() - begun < 5_000);
    await assertNothingHeld(setup);

    const refused = await failureOf(order());
    assert.ok(refused instanceof BudgetError && refused.until === retryAt, String(refused));
    assert.deepEqual([classify(refused).class, classify(refused).code], ['budget', 6]);
    assert.equal(setup.shim.count('newOrder'), 1);
  });
}

test("a limit of Let's Encrypt without a header is read from its words", async () => {
  await using setup = await startSetup();
  const detail = 'too many new orders (300) from this account in the last 3h0m0s, retry after 1970-01-01 01:00:00 UTC';
  setup.shim.script('newOrder', problem('rateLimited', 429, {}, { detail }));
  const begun = Date.now();
  const { retryAt, scope } = classify(await failureOf(setup.obtain('a.example.com')));
  assert.ok(Math.abs((retryAt ?? 0) - begun - 3_600_000) < 5_000, String(retryAt));
  assert.equal(scope, 'issuer');
  assert.equal(setup.ledger.calls.at(-1), `parked issuer ${retryAt}`);
});

test('an outage of the CA is told in words, and pauses everything asked of it', async () => {
  await using setup = await startSetup();
  for (const [behaviour, expected] of [
    [problem('serverInternal', 503, { 'retry-after': '60' }), /it is serverInternal/],
    [page(500), /the CA answered 500/],
    [empty(503), /the CA answered 503/],
  ] as const) {
    setup.shim.clear();
    setup.shim.script('newOrder', behaviour);
    const error = await failureOf(setup.obtain('a.example.com'));
    assert.match(error.message, expected);
    assert.deepEqual([classify(error).class, classify(error).scope, classify(error).code], ['server', 'issuer', 4]);
  }
  assert.match(setup.ledger.calls.filter((call) => call.startsWith('parked')).join(), /^parked issuer \d+$/);
});

test('a request is signed again when its nonce was bad, and given up after six', async () => {
  await using setup = await startSetup();
  setup.shim.script('newOrder', badNonce(), { times: 3 });
  await setup.obtain('a.example.com');
  assert.equal(setup.shim.count('newOrder'), 4);
  setup.shim.script('newOrder', badNonce());
  const error = await failureOf(setup.obtain('a.example.com'));
  assert.ok(error instanceof AcmeProblem && error.type === 'badNonce', String(error));
  assert.equal(setup.shim.count('newOrder'), 4 + 6);
  assert.equal(classify(error).class, 'server');
});

test('a CA that refuses most nonces is put up with', async () => {
  await using setup = await startSetup({ pebble: { env: { PEBBLE_WFE_NONCEREJECT: '60' } } });
  const begun = setup.shim.count('newOrder');
  // Six sends fail together in 0.6^6 of all cases, and an order has ten requests: what was begun is gone on with.
  for (let attempt = 0; attempt < 10 && setup.installed.length === 0; attempt++) {
    await setup.obtain('a.example.com').catch((error: unknown) => assert.ok(error instanceof AcmeProblem));
  }
  assert.equal(setup.installed.length, 1);
  assert.equal(setup.pebble.issued(), 1);
  assert.equal(begun, 0);
});

test('what a name is refused for stays refused: a person must act', async () => {
  await using setup = await startSetup({ pebble: { domainBlocklist: ['blocked.example.com'] } });
  const error = await failureOf(setup.obtain('blocked.example.com'));
  assert.ok(error instanceof AcmeProblem, String(error));
  assert.deepEqual([error.type, classify(error).class, classify(error).code], ['rejectedIdentifier', 'permanent', 5]);
  assert.equal(setup.shim.count('newOrder'), 1);
});

test('a CAA record that forbids the CA is told by name, and waiting will not mend it', async () => {
  await using setup = await startSetup();
  const caa = {
    type: 'urn:ietf:params:acme:error:caa',
    detail: 'CAA record for a.example.com prevents issuance',
    status: 403,
  };
  setup.shim.script(
    'authorization',
    rewriteJson((body) => ({
      ...body,
      status: 'invalid',
      challenges: (body['challenges'] as object[]).map((challenge) => ({
        ...challenge,
        status: 'invalid',
        error: caa,
      })),
    })),
    { when: () => setup.shim.count('challenge') > 0 },
  );
  const error = await failureOf(setup.obtain('a.example.com'));
  assert.ok(error instanceof ValidationError, String(error));
  assert.deepEqual(
    error.failures.map(({ name, type, challenge }) => [name, type, challenge]),
    [['a.example.com', 'caa', 'http-01']],
  );
  const { class: kind, needsOperator, code } = classify(error);
  assert.deepEqual([kind, needsOperator, code], ['permanent', true, 5]);
  await assertNothingHeld(setup);
});

test('a page in place of the directory is no CA, is not kept, and the good copy serves meanwhile', async () => {
  await using setup = await startSetup();
  const pages: readonly Behaviour[] = [page(200), page(404), rewriteJson((body) => ({ ...body, newNonce: 7 }))];
  for (const behaviour of pages) {
    setup.shim.script('directory', behaviour, { times: 1 });
    const error = await failureOf(setup.restart().obtain(requestFor(['a.example.com'], setup.config)));
    assert.ok(error instanceof AcmeTransportError && error.code === 'NOT_A_DIRECTORY', String(error));
  }
  assert.equal(setup.shim.requests.length, pages.length);
  await setup.obtain('a.example.com');
  for (const behaviour of pages) {
    setup.shim.script('directory', behaviour, { times: 1 });
    await setup.obtain('a.example.com');
  }
});

for (const [how, days] of [
  ['fast', 2],
  ['slow', -2],
] as const) {
  test(`a clock that is two days ${how} is told of, and does not make us refuse what the CA gives`, async (t) => {
    await using setup = await startSetup();
    const offset = days * 86_400_000;
    const real = Date.now();
    t.mock.timers.enable({ apis: ['Date'], now: real + offset });
    const { certificate } = await setup.obtain('a.example.com');
    assert.equal(certificate.notBefore > Date.now(), days < 0);
    assert.ok(Math.abs((setup.issuer.clockSkewMs(setup.config) ?? 0) + offset) < 30_000);
    assert.ok(Math.abs(Number(setup.events('clock_skew').at(-1)?.['ahead_ms']) + offset) < 30_000);
    assert.equal(setup.pebble.issued(), 1);
  });
}

test('a storage that keeps nothing is noticed before anybody is asked', async () => {
  await using setup = await startSetup();
  const full = { ...setup.storage, probe: () => Promise.reject(new StorageError('the disk is full')) };
  const error = await failureOf(setup.restart({ storage: full }).obtain(requestFor(['a.example.com'], setup.config)));
  assert.deepEqual([classify(error).class, classify(error).code], ['local', 7]);
  assert.equal(setup.shim.requests.length, 0);
});

test('what cannot be kept is had all the same, and kept later without another order', async () => {
  await using setup = await startSetup();
  const full = new StorageError('the disk is full');
  const { certificate, notKept } = await setup.obtain('a.example.com', { install: () => Promise.reject(full) });
  assert.equal(notKept, full);
  assert.ok((await openJournal(setup.storage, setup.config.ca, 'a.example.com').read()) !== null);
  const again = await setup.obtain('a.example.com');
  assert.equal(again.certificate.serial, certificate.serial);
  assert.equal(setup.installed.length, 1);
  assert.equal(setup.shim.count('newOrder'), 1);
  assert.equal(setup.pebble.issued(), 1);
});

test('an order that is called off ends soon, and leaves no answer behind', async () => {
  await using setup = await startSetup();
  setup.answers.answerWith('something else');
  setup.shim.script(
    'authorization',
    rewriteJson((body) => ({ ...body, status: 'pending' })),
  );
  const stop = new AbortController();
  const order = failureOf(setup.obtain('a.example.com', { signal: stop.signal }));
  await eventually(() => setup.answers.hits() > 0);
  stop.abort(new Error('the program is stopping'));
  assert.equal((await order).message, 'the program is stopping');
  await assertNothingHeld(setup);
});
