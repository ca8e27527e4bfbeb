import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import tls from 'node:tls';
import { readPkcs12, writePkcs12 } from './pkcs12.ts';
import { splitChain } from '../certificate.ts';
import { openInternalCa } from '../internal_ca.ts';
import { createMemoryStorage } from '../storage/memory_storage.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-pkcs12-'));
after(() => rmSync(folder, { recursive: true }));

function openssl(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}

const KEYS = { ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], rsa: ['rsa:2048'] };
for (const [kind, algorithm] of Object.entries(KEYS)) {
  const made = ['-keyout', `${kind}.key`, '-out', `${kind}.pem`, '-addext', 'subjectAltName=DNS:a.example'];
  openssl(...'req -x509 -nodes -days 2 -subj /CN=a.example -newkey'.split(' '), ...algorithm, ...made);
}

/** How OpenSSL is told to close the file. */
const CLOSED: Readonly<Record<string, readonly string[]>> = {
  'as OpenSSL 3 does': [],
  'with RC2 and 3DES, which OpenSSL 3 no longer opens': ['-legacy'],
  'with nothing': ['-keypbe', 'NONE', '-certpbe', 'NONE'],
  'without a MAC': ['-nomac'],
};
for (const kind of Object.keys(KEYS)) {
  for (const [how, options] of Object.entries(CLOSED)) {
    for (const passphrase of ['hunter2', 'pässwörd', '']) {
      const words = passphrase === '' ? 'and no passphrase' : `and the passphrase ${passphrase}`;
      test(`opens a file with an ${kind} key, closed ${how}, ${words}`, () => {
        const file = [
          '-inkey',
          `${kind}.key`,
          '-in',
          `${kind}.pem`,
          '-out',
          'it.p12',
          '-passout',
          `pass:${passphrase}`,
        ];
        openssl('pkcs12', '-export', ...options, ...file);
        const data = readFileSync(path.join(folder, 'it.p12'));
        const { keys, certificates } = readPkcs12(data, passphrase === '' ? null : passphrase);
        const expected = new X509Certificate(readFileSync(path.join(folder, `${kind}.pem`)));
        assert.deepEqual(
          certificates.map((it) => it.fingerprint256),
          [expected.fingerprint256],
        );
        assert.equal(keys.length, 1);
        assert.ok(keys[0] !== undefined && expected.checkPrivateKey(keys[0]));
      });
    }
  }
}

test('tells a missing passphrase from a wrong one, and both from what is no PKCS#12 at all', () => {
  openssl(...'pkcs12 -export -inkey ec.key -in ec.pem -out closed.p12 -passout pass:right'.split(' '));
  const data = readFileSync(path.join(folder, 'closed.p12'));
  assert.throws(() => readPkcs12(data, null), /the PKCS#12 file has a passphrase/);
  assert.throws(() => readPkcs12(data, 'wrong'), /the passphrase is not that of the PKCS#12 file/);
  assert.throws(() => readPkcs12(Buffer.from('-----BEGIN CERTIFICATE-----'), 'wrong'), /is no PKCS#12 file/);
  assert.throws(() => readPkcs12(Buffer.alloc(0), null), /is no PKCS#12 file/);
  assert.throws(() => readPkcs12(data.subarray(0, -1), 'right'), /is no PKCS#12 file/);
});

test('what it writes is opened by OpenSSL, by Node and by itself', async () => {
  const { chain, key } = (await openInternalCa(createMemoryStorage(), Date.now())).issue(['a.example'], Date.now());
  const certificates = splitChain(chain).map((pem) => new X509Certificate(pem));
  const passphrase = 'pässwörd';
  const data = writePkcs12(createPrivateKey(key), certificates, passphrase);
  writeFileSync(path.join(folder, 'out.p12'), data);

  const text = openssl('pkcs12', '-in', 'out.p12', '-passin', `pass:${passphrase}`, '-noenc');
  assert.deepEqual(
    splitChain(text).map((pem) => new X509Certificate(pem).fingerprint256),
    certificates.map((it) => it.fingerprint256),
  );
  assert.ok(certificates[0]?.checkPrivateKey(createPrivateKey(text)));
  tls.createSecureContext({ pfx: data, passphrase });
  const back = readPkcs12(data, passphrase);
  assert.equal(back.certificates.length, 2);
  assert.ok(back.keys[0] !== undefined && certificates[0]?.checkPrivateKey(back.keys[0]));
  assert.equal(data.includes(createPrivateKey(key).export({ type: 'pkcs8', format: 'der' })), false);
});
