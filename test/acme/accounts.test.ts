/** One account per CA and binding: kept, bound, changed, ended, and made again when the CA forgot it. */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { requestFor, startSetup } from '../support/acme_setup.ts';
import { problem, rewriteJson } from '../support/acme_shim.ts';
import { startPebble } from '../support/pebble.ts';
import { accountSlug } from '../../src/certificates/acme/account.ts';
import { AcmeProblem, BudgetError } from '../../src/certificates/acme/errors.ts';
import { classify } from '../../src/certificates/acme/failure.ts';

const MAC = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';

test('an account is made once, and known after a restart without asking', async () => {
  await using setup = await startSetup();
  await setup.obtain('a.example.com');
  assert.equal(setup.shim.count('newAccount'), 1);
  await setup.restart().obtain({ ...requestFor(['b.example.com'], setup.config) });
  assert.equal(setup.shim.count('newAccount'), 1);
  assert.equal(setup.pebble.accounts(), 1);
});

test('two orders at once make one account', async () => {
  await using setup = await startSetup();
  await Promise.all([setup.obtain('a.example.com'), setup.obtain('b.example.com')]);
  assert.equal(setup.pebble.accounts(), 1);
});

test('a CA that lost its memory gets the account again, once', async () => {
  await using setup = await startSetup();
  const { about } = await setup.obtain('a.example.com');
  const kept = await setup.storage.read(`accounts/${accountSlug(setup.config)}/key.pem`);
  await using empty = await startPebble({ httpPort: setup.answers.port });
  setup.shim.forwardTo(empty.directoryUrl, empty.trustedRoot);
  const again = await setup.obtain('a.example.com');
  assert.notEqual(again.certificate.serial, setup.installed[0]?.certificate.serial);
  assert.equal(setup.events('account_lost')[0]?.['account'], about.accountUrl);
  assert.notEqual(await setup.storage.read(`accounts/${accountSlug(setup.config)}/key.pem`), kept);
  assert.deepEqual(
    setup.ledger.calls.filter((call) => call === 'account'),
    ['account', 'account'],
  );

  // Within a day it happens a second time, and not a third.
  setup.ledger.refuseAccounts({ ok: false, until: 4e12, reason: 'two accounts were made today' });
  await using another = await startPebble({ httpPort: setup.answers.port });
  setup.shim.forwardTo(another.directoryUrl, another.trustedRoot);
  await assert.rejects(setup.obtain('a.example.com'), (error) => {
    assert.ok(error instanceof BudgetError && error.until === 4e12);
    return true;
  });
  assert.equal(another.accounts(), 0);
});

test('an account the CA keeps forgetting is not made again and again', async () => {
  await using setup = await startSetup();
  setup.shim.script('newOrder', problem('accountDoesNotExist', 400));
  const error = await setup.obtain('a.example.com').catch((reason: unknown) => reason);
  assert.equal(classify(error).class, 'account');
  assert.equal(setup.shim.count('newAccount'), 2);
  assert.equal(setup.shim.count('newOrder'), 2);
});

test('an account is bound where the CA wants that; a wrong key is told of and not tried again', async () => {
  await using setup = await startSetup({ pebble: { externalAccounts: { 'kid-1': MAC } } });
  await assert.rejects(setup.obtain('a.example.com'), /acme\.issuers\[\]\.eab/);
  assert.equal(setup.shim.count('newAccount'), 0);

  const bound = (hmacKey: string) => ({ issuer: { ...setup.config, eab: { kid: 'kid-1', hmacKey } } });
  const wrong = await setup.obtain('a.example.com', bound(MAC.replace('z', 'y'))).catch((reason: unknown) => reason);
  assert.ok(wrong instanceof AcmeProblem, String(wrong));
  assert.ok(wrong.message.length > 10, wrong.message);
  assert.equal(setup.shim.count('newAccount'), 1);
  assert.equal(setup.shim.count('newOrder'), 0);

  const { certificate } = await setup.obtain('a.example.com', bound(MAC));
  assert.deepEqual(certificate.names, ['a.example.com']);
});

test("an account's key is changed, and the account goes on", async () => {
  await using setup = await startSetup();
  const before = await setup.obtain('a.example.com');
  const key = `accounts/${accountSlug(setup.config)}/key.pem`;
  const old = await setup.storage.read(key);
  await setup.issuer.rolloverAccountKey(setup.config, AbortSignal.timeout(10_000));
  assert.notEqual(await setup.storage.read(key), old);
  const after = await setup.obtain('a.example.com');
  assert.equal(after.about.accountUrl, before.about.accountUrl);
  assert.equal(setup.pebble.accounts(), 1);

  // Cut short before the new key was kept as the account's: the CA says which of the two it is.
  assert.ok(old !== null);
  const current = await setup.storage.read(key);
  assert.ok(current !== null);
  await setup.storage.write(`accounts/${accountSlug(setup.config)}/next.pem`, current);
  await setup.storage.write(key, old);
  assert.equal((await setup.obtain('a.example.com')).about.accountUrl, before.about.accountUrl);
  assert.equal(await setup.storage.read(key), current);
});

test('an account that was ended is forgotten here, too', async () => {
  await using setup = await startSetup();
  const { about } = await setup.obtain('a.example.com');
  assert.equal((await setup.issuer.account(setup.config))?.url, about.accountUrl);
  await setup.issuer.deactivateAccount(setup.config, AbortSignal.timeout(10_000));
  assert.equal(await setup.issuer.account(setup.config), null);
  assert.notEqual((await setup.obtain('a.example.com')).about.accountUrl, about.accountUrl);
});

for (const by of ['account', 'certificate'] as const) {
  test(`a certificate is revoked by the ${by}'s key, and twice is no error`, async () => {
    await using setup = await startSetup();
    const { certificate } = await setup.obtain('a.example.com');
    const { chain } = certificate;
    const key = by === 'certificate' ? certificate.key : null;
    const signal = AbortSignal.timeout(10_000);
    await setup.issuer.revoke({ issuer: setup.config, chain, key, reason: 1, signal });
    const serial = new X509Certificate(chain).serialNumber.toLowerCase();
    const status = await setup.pebble.get(`${setup.pebble.management}/cert-status-by-serial/${serial}`);
    assert.match(status, /Revoked/);
    await setup.issuer.revoke({ issuer: setup.config, chain, key, reason: 1, signal });
    // What replaces it has a key of its own.
    const next = await setup.obtain('a.example.com', { currentSerial: certificate.serial });
    assert.ok(!new X509Certificate(next.certificate.chain).checkPrivateKey(createPrivateKey(certificate.key)));
  });
}

test('terms of service that changed are told of once', async () => {
  await using setup = await startSetup();
  await setup.obtain('a.example.com');
  const terms = 'https://ca.example/terms-2';
  setup.shim.script(
    'directory',
    rewriteJson((body) => ({ ...body, meta: { termsOfService: terms } })),
  );
  await setup.obtain('a.example.com');
  await setup.obtain('a.example.com');
  assert.deepEqual(
    setup.events('terms_of_service_changed').map((event) => event['terms']),
    [terms],
  );
});
