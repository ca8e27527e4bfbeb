import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openInternalCa, ROOT_FILE } from './internal_ca.ts';
import { createFileStorage } from './storage/file_storage.ts';

const NAMES = ['localhost', '*.app.internal', 'app.internal', '10.0.0.1', '::1', 'fd00::1:2'];
const DAY = 86_400_000;

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-ca-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('openssl, at its strictest, trusts what it issues', async () => {
  const issued = (await openInternalCa(createFileStorage(folder), Date.now())).issue(NAMES, Date.now());
  const leaf = path.join(folder, 'leaf.pem');
  writeFileSync(leaf, issued.chain);
  const root = path.join(folder, ROOT_FILE);
  for (const check of [
    ['-verify_hostname', 'localhost'],
    ['-verify_hostname', 'x.app.internal'],
    ['-verify_ip', '10.0.0.1'],
    ['-verify_ip', 'fd00::1:2'],
  ]) {
    const { status, stderr } = spawnSync('openssl', [
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-CAfile',
      root,
      ...check,
      leaf,
    ]);
    assert.equal(status, 0, `${check.join(' ')}: ${String(stderr)}`);
  }
  const { status } = spawnSync('openssl', ['verify', '-CAfile', root, '-verify_hostname', 'other.internal', leaf]);
  assert.notEqual(status, 0, 'and nobody else');
});

test('a certificate names what it was asked for, lives 90 days, and has a serial of its own', async () => {
  const now = Date.now();
  const ca = await openInternalCa(createFileStorage(folder), now);
  const [a, b] = [ca.issue(NAMES, now), ca.issue(NAMES, now)];
  const leaf = new X509Certificate(a.chain);
  assert.ok(leaf.checkHost('localhost') && leaf.checkIP('::1'));
  assert.ok(leaf.checkIssued(new X509Certificate((await createFileStorage(folder).read(ROOT_FILE)) ?? '')));
  assert.ok(Math.abs(a.notAfter - now - 90 * DAY) < 2_000);
  assert.notEqual(a.serial, b.serial);
  assert.notEqual(a.key, b.key);
});

test('keeps its root, and its key to itself', async () => {
  const storage = createFileStorage(folder);
  await openInternalCa(storage, Date.now());
  const root = await storage.read(ROOT_FILE);
  await openInternalCa(storage, Date.now());
  assert.equal(await storage.read(ROOT_FILE), root);
  assert.equal(statSync(path.join(folder, 'internal/root.key')).mode & 0o777, 0o600);
});

test('makes a new root when the old one would not outlive what it issues', async () => {
  const storage = createFileStorage(folder);
  await openInternalCa(storage, Date.now() - 3_600 * DAY);
  const old = await storage.read(ROOT_FILE);
  await openInternalCa(storage, Date.now());
  assert.notEqual(await storage.read(ROOT_FILE), old);
});

test('of several that open it at once, on one folder, all use one root', async () => {
  const now = Date.now();
  const cas = await Promise.all([1, 2, 3].map(() => openInternalCa(createFileStorage(folder), now)));
  const root = new X509Certificate((await createFileStorage(folder).read(ROOT_FILE)) ?? '');
  for (const ca of cas) assert.ok(new X509Certificate(ca.issue(['a.internal'], now).chain).verify(root.publicKey));
});
