import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { openInternalCa } from './internal_ca.ts';
import { createCertificateStore, issuerSlug, StorageError } from './store.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-store-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function issue(): Certificate {
  return openInternalCa(createCertificateStore(folder), Date.now()).issue(['a.internal'], Date.now());
}

test('gives back what was saved last, and keeps three generations', () => {
  const store = createCertificateStore(folder);
  let latest = issue();
  for (let i = 0; i < 5; i++) {
    latest = issue();
    store.save('ca', 'a.internal', latest);
  }
  assert.equal(store.load('ca', 'a.internal').certificate?.serial, latest.serial);
  const at = path.join(folder, 'certificates/ca/a.internal');
  assert.deepEqual(readdirSync(at).toSorted(), ['current', 'g-3', 'g-4', 'g-5']);
  assert.equal(readlinkSync(path.join(at, 'current')), 'g-5');
  assert.equal(statSync(path.join(at, 'g-5/key.pem')).mode & 0o777, 0o600);
  assert.equal(statSync(at).mode & 0o777, 0o700);
});

test('falls back to the generation before a damaged one, and says so', () => {
  const store = createCertificateStore(folder);
  const first = issue();
  store.save('ca', 'a.internal', first);
  store.save('ca', 'a.internal', issue());
  writeFileSync(path.join(folder, 'certificates/ca/a.internal/current/chain.pem'), 'torn');
  const { certificate, problems } = store.load('ca', 'a.internal');
  assert.equal(certificate?.serial, first.serial);
  assert.match(problems[0] ?? '', /g-2: there is no certificate/);
});

test('no name leads out of the folder', () => {
  const store = createCertificateStore(folder);
  for (const name of ['../x', 'a/b', '.', '..', '']) {
    assert.throws(() => store.save('ca', name, issue()), StorageError, name);
  }
  store.save('ca', '*.a.internal', issue());
  assert.ok(readdirSync(path.join(folder, 'certificates/ca')).includes('_wildcard.a.internal'));
});

test('remembers failures over a restart, until they are over', () => {
  const attempts = { failures: 2, lastAttemptAt: 1, error: 'no', notBeforeByCa: null };
  createCertificateStore(folder).saveAttempts('ca', 'a', attempts);
  assert.deepEqual(createCertificateStore(folder).loadAttempts('ca', 'a'), attempts);
  createCertificateStore(folder).saveAttempts('ca', 'a', null);
  assert.equal(createCertificateStore(folder).loadAttempts('ca', 'a'), null);
});

test('says what to do when nothing can be written', () => {
  const file = path.join(folder, 'file');
  writeFileSync(file, '');
  assert.throws(() => createCertificateStore(path.join(file, 'state')).checkWritable(), /storage\.root/);
});

test('two CAs never share a folder', () => {
  assert.equal(issuerSlug('https://acme-v02.api.letsencrypt.org/directory'), 'acme-v02.api.letsencrypt.org-directory');
  assert.notEqual(issuerSlug('https://localhost:1/dir'), issuerSlug('https://localhost:2/dir'));
});

test('a certificate with another key, or a chain in disorder, is refused', () => {
  const [a, b] = [issue(), issue()];
  assert.throws(() => parseCertificate(a.chain, b.key), /not the certificate/);
  const [leaf = '', root = ''] = a.chain.split(/(?<=-----END CERTIFICATE-----\n)/);
  assert.throws(() => parseCertificate(leaf + leaf + root, a.key), /not in order/);
  assert.throws(() => parseCertificate('', a.key), /no certificate/);
});
