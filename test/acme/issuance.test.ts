/** Orders that succeed: what is asked of the CA, what is kept, what is left behind. */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { startSetup } from '../support/acme_setup.ts';
import { issuerSlug } from '../../src/certificates/store.ts';

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
