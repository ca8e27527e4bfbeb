/** Orders that succeed: what is asked of the CA, what is kept, what is left behind. */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { requestFor, startSetup } from '../support/acme_setup.ts';
import { rewriteJson, startShim } from '../support/acme_shim.ts';
import type { Shim } from '../support/acme_shim.ts';
import { startPebble } from '../support/pebble.ts';
import { issuerSlug } from '../../src/certificates/storage/keys.ts';

test('a first certificate costs one order, and leaves neither journal nor answer behind', async () => {
  await using setup = await startSetup();
  const { certificate, about, notKept } = await setup.obtain('a.example.com');
  assert.deepEqual(certificate.names, ['a.example.com']);
  assert.ok(new X509Certificate(certificate.chain).checkPrivateKey(createPrivateKey(certificate.key)));
  assert.equal(notKept, null);
  assert.deepEqual(setup.installed, [{ certificate, about }]);
  assert.equal(setup.shim.count('newOrder'), 1);
  assert.equal(setup.shim.count('finalize'), 1);
  assert.equal(setup.pebble.issued(), 1);
  assert.equal(setup.answers.armed.size, 0);
  const slug = issuerSlug(setup.config.ca);
  assert.deepEqual(await setup.storage.list(`orders/${slug}`), ['a.example.com.solved.json']);
  assert.deepEqual(setup.ledger.calls, ['account', 'ordered a.example.com', 'issued a.example.com']);
  assert.equal(about.ca, setup.config.ca);
  assert.deepEqual(about.solved, { 'a.example.com': 'http-01' });
  // RFC 9773: two words of base64url.
  assert.match(about.certId ?? '', /^[\w-]+\.[\w-]+$/);
});

test('names the CA still knows are not shown again', async () => {
  await using setup = await startSetup({ pebble: { env: { PEBBLE_AUTHZREUSE: '100' } } });
  await setup.obtain('a.example.com');
  const { certificate, about } = await setup.obtain(['a.example.com', 'b.example.com', 'c.example.com']);
  assert.deepEqual(certificate.names.toSorted(), ['a.example.com', 'b.example.com', 'c.example.com']);
  assert.deepEqual(Object.keys(about.solved).toSorted(), ['b.example.com', 'c.example.com']);
  assert.equal(setup.answers.seen.length, 3);
});

test('an address is ordered as one, by the profile for addresses where the CA lists it', async () => {
  await using setup = await startSetup({ shim: { profiles: ['classic', 'shortlived'] } });
  const { certificate, about } = await setup.obtain('127.0.0.1');
  assert.deepEqual(certificate.names, ['127.0.0.1']);
  assert.equal(about.profile, 'shortlived');
  const order = setup.shim.requests.find(({ endpoint }) => endpoint === 'newOrder')?.payload;
  assert.deepEqual(order, { identifiers: [{ type: 'ip', value: '127.0.0.1' }], profile: 'shortlived' });
  // Names get what the CA thinks best.
  assert.equal((await setup.obtain('a.example.com')).about.profile, null);
});

test('a CA without profiles or ARI hears of neither', async () => {
  await using setup = await startSetup();
  const signal = AbortSignal.timeout(10_000);
  const query = { certId: 'a.b', notAfter: Date.now() + 86_400_000, failures: 0 };
  assert.equal(await setup.issuer.renewalInfo(setup.config, query, signal), null);
  assert.equal(setup.shim.count('renewalInfo'), 0);
  await setup.obtain('127.0.0.1', { replaces: { ca: setup.config.ca, certId: 'a.b' } });
  const order = setup.shim.requests.find(({ endpoint }) => endpoint === 'newOrder')?.payload;
  assert.deepEqual(order, { identifiers: [{ type: 'ip', value: '127.0.0.1' }] });
});

test('a profile the CA does not list is refused before anything is ordered', async () => {
  await using setup = await startSetup({ shim: { profiles: ['classic'] }, issuer: { profile: 'tlsserver' } });
  await assert.rejects(setup.obtain('a.example.com'), /does not list the profile tlsserver: it has classic/);
  assert.equal(setup.shim.count('newOrder'), 0);
  assert.equal(setup.shim.count('newAccount'), 0);
});

for (const keyType of ['p256', 'p384', 'rsa2048', 'rsa4096'] as const) {
  test(`the key is ${keyType} where that is configured`, async () => {
    await using setup = await startSetup();
    const { certificate } = await setup.obtain('a.example.com', { keyType });
    const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(certificate.key);
    const size = asymmetricKeyDetails?.modulusLength ?? asymmetricKeyDetails?.namedCurve;
    const expected = { p256: 'prime256v1', p384: 'secp384r1', rsa2048: 2048, rsa4096: 4096 }[keyType];
    assert.deepEqual([asymmetricKeyType, size], [keyType.startsWith('p') ? 'ec' : 'rsa', expected]);
  });
}

test('a renewal has a new key, or the same one where that is wanted', async () => {
  await using setup = await startSetup();
  const { certificate } = await setup.obtain('a.example.com');
  const renewed = await setup.obtain('a.example.com');
  assert.notEqual(renewed.certificate.key, certificate.key);
  const pinned = await setup.obtain('a.example.com', { reuseKey: certificate.key });
  assert.equal(pinned.certificate.key, certificate.key);
  assert.notEqual(pinned.certificate.serial, certificate.serial);
});

test('the whole chain is kept, and it ends at the root that is preferred', async () => {
  const env = { PEBBLE_CHAIN_LENGTH: '3', PEBBLE_ALTERNATE_ROOTS: '2' };
  await using setup = await startSetup({ pebble: { env } });
  const { certificate } = await setup.obtain('a.example.com');
  assert.equal(chainOf(certificate.chain).length, 4);
  const byDefault = rootOf(certificate.chain);
  const wanted = nameIn(await setup.pebble.get(`${setup.pebble.management}/roots/2`), 'subject');
  assert.notEqual(byDefault, wanted);

  const preferred = await setup.obtain('a.example.com', { issuer: { ...setup.config, preferredChain: wanted } });
  assert.equal(rootOf(preferred.certificate.chain), wanted);
  assert.equal(chainOf(preferred.certificate.chain).length, 4);
  assert.deepEqual(setup.events('preferred_chain_unknown'), []);

  const unknown = await setup.obtain('a.example.com', { issuer: { ...setup.config, preferredChain: 'No Such Root' } });
  assert.equal(rootOf(unknown.certificate.chain), byDefault);
  const [warning] = setup.events('preferred_chain_unknown');
  assert.equal(Array.isArray(warning?.['offered']) && warning['offered'].length, 3);
});

test('whoever finds the certificate renewed by another instance orders nothing', async () => {
  await using setup = await startSetup();
  const request = { ...requestFor(['a.example.com'], setup.config), stillNeeded: () => Promise.resolve(false) };
  assert.deepEqual(await setup.issuer.obtain(request), { outcome: 'not_needed' });
  assert.equal(setup.shim.requests.length, 0);
});

test('challenge types and fields nobody knows are passed over', async () => {
  await using setup = await startSetup();
  const strange = { type: 'carrier-pigeon-01', status: 'pending', coop: 7 };
  setup.shim.script(
    'authorization',
    rewriteJson((body) => ({
      ...body,
      later: { than: ['2026'] },
      challenges: [
        strange,
        'nonsense',
        { ...strange, url: 'https://localhost/x' },
        ...(body['challenges'] as unknown[]),
      ],
    })),
  );
  setup.shim.script(
    'order',
    rewriteJson((body) => ({ ...body, mood: 'good' })),
  );
  setup.shim.script(
    'directory',
    rewriteJson((body) => ({ ...body, newAuthz: 7, novelty: {} })),
  );
  assert.deepEqual((await setup.obtain('a.example.com')).certificate.names, ['a.example.com']);
});

test('staging and production know nothing of each other, not even by way of what is replaced', async () => {
  await using production = await startSetup({ shim: { renewalInfo: true } });
  const env = { PEBBLE_WFE_NONCEREJECT: '0' };
  await using staging = await startPebble({ httpPort: production.answers.port, env });
  await using stagingShim = await startShim(staging, { renewalInfo: true });
  const there = { ...production.config, ca: stagingShim.directoryUrl, trustedRoots: [stagingShim.trustedRoot] };
  const first = await production.obtain('a.example.com');
  const replaces = { ca: first.about.ca, certId: first.about.certId ?? '' };
  const tried = await production.obtain('a.example.com', { issuer: there, replaces });
  assert.deepEqual([tried.about.ca, first.about.ca], [there.ca, production.config.ca]);
  const back = await production.obtain('a.example.com', { replaces });
  assert.equal(back.about.accountUrl, first.about.accountUrl);
  assert.deepEqual([production.shim.count('newAccount'), stagingShim.count('newAccount')], [1, 1]);
  const replaced = (shim: Shim): unknown[] =>
    shim.requests.flatMap(({ endpoint, payload }) => (endpoint === 'newOrder' ? [payload?.['replaces']] : []));
  assert.deepEqual(replaced(production.shim), [undefined, first.about.certId]);
  assert.deepEqual(replaced(stagingShim), [undefined]);
});

function chainOf(chain: string): readonly X509Certificate[] {
  return (chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (pem) => new X509Certificate(pem),
  );
}

function rootOf(chain: string): string {
  const last = chainOf(chain).at(-1);
  assert.ok(last);
  return nameIn(last, 'issuer');
}

function nameIn(certificate: X509Certificate | string, field: 'subject' | 'issuer'): string {
  const parsed = typeof certificate === 'string' ? new X509Certificate(certificate) : certificate;
  return /^CN=(.*)$/m.exec(parsed[field])?.[1] ?? '';
}
