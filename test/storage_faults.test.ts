/** A storage whose disk fails it: what was kept stays whole, and the message says what is wrong. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { run } from './support/processes.ts';
import { mountSmallDisk, noSmallDisk } from './support/small_disk.ts';
import { openInternalCa } from '../src/certificates/internal_ca.ts';
import { createFileStorage } from '../src/certificates/storage/file_storage.ts';
import { createMemoryStorage } from '../src/certificates/storage/memory_storage.ts';
import { createCertificateStore } from '../src/certificates/store.ts';

const forever = new AbortController().signal;
const noOtherUser = process.getuid?.() !== 0 && 'being somebody else needs root';
const KIB = 1024;

test('on a full disk a write fails with its reason, and what was there stays', { skip: noSmallDisk }, async () => {
  await using disk = await mountSmallDisk();
  const storage = createFileStorage(disk.folder);
  await storage.write('a/key', 'old');
  await storage.point('a/current', 'key');
  disk.leave(0);
  await assert.rejects(storage.write('a/key', 'new'), /cannot be written: the disk is full; see storage\.root/);
  await assert.rejects(storage.write('b/c/d', 'new'), /the disk is full/);
  assert.equal(await storage.read('a/key'), 'old');
  assert.equal(await storage.pointee('a/current'), 'key');
  assert.deepEqual(readdirSync(path.join(disk.folder, 'a')).toSorted(), ['current', 'key']);
  disk.leave(16 * KIB);
  await storage.write('a/key', 'new');
  assert.equal(await storage.read('a/key'), 'new');
});

test('the probe fails where a file fits, but not the files of an order', { skip: noSmallDisk }, async () => {
  await using disk = await mountSmallDisk();
  const storage = createFileStorage(disk.folder);
  await storage.probe();
  disk.leave(8 * KIB);
  await storage.write('small', 'fits');
  await assert.rejects(storage.probe(), /the disk is full/);
  assert.deepEqual(readdirSync(disk.folder).toSorted(), ['.ballast', 'small']);
});

test(
  'a lock is kept and given back although the disk fills meanwhile; none is given then',
  { skip: noSmallDisk },
  async () => {
    await using disk = await mountSmallDisk();
    const storage = createFileStorage(disk.folder);
    await storage.withLock('one', forever, async (lock) => {
      disk.leave(0);
      await lock.assertHeld();
      await assert.rejects(
        storage.withLock('two', forever, () => Promise.resolve()),
        /the disk is full/,
      );
    });
    disk.leave(16 * KIB);
    await storage.withLock('one', AbortSignal.timeout(1_000), (lock) => lock.assertHeld());
  },
);

test('a read-only file system is named as such, and can be read', { skip: noSmallDisk }, async () => {
  await using disk = await mountSmallDisk();
  const storage = createFileStorage(disk.folder);
  await storage.write('a', 'kept');
  await disk.makeReadOnly();
  const readOnly = /cannot be written: it is on a read-only file system; see storage\.root/;
  await assert.rejects(storage.probe(), readOnly);
  await assert.rejects(storage.remove('a'), readOnly);
  await assert.rejects(storage.point('b', 'a'), readOnly);
  await assert.rejects(
    storage.withLock('a', AbortSignal.timeout(1_000), () => Promise.resolve()),
    readOnly,
  );
  assert.equal(await storage.read('a'), 'kept');
});

test(
  'a damaged certificate on a read-only disk: the one before is served all the same',
  { skip: noSmallDisk },
  async () => {
    await using disk = await mountSmallDisk();
    const store = createCertificateStore(createFileStorage(disk.folder));
    const ca = await openInternalCa(createMemoryStorage(), Date.now());
    const [first, second] = [1, 2].map(() => ca.issue(['a.internal'], Date.now()));
    assert.ok(first !== undefined && second !== undefined);
    for (const one of [first, second]) await store.save('ca', 'a.internal', one, null);
    writeFileSync(path.join(disk.folder, 'certificates/ca/a.internal/g-2/key.pem'), 'torn');
    await disk.makeReadOnly();
    const { certificate, problems } = await store.load('ca', 'a.internal');
    assert.equal(certificate?.serial, first.serial);
    assert.match(problems.join(), /g-2: the private key cannot be read.*read-only file system/);
  },
);

test(
  'a certificate that does not fit takes nothing away from the one that is there',
  { skip: noSmallDisk },
  async () => {
    await using disk = await mountSmallDisk();
    const store = createCertificateStore(createFileStorage(disk.folder));
    const ca = await openInternalCa(createMemoryStorage(), Date.now());
    const first = ca.issue(['a.internal'], Date.now());
    await store.save('ca', 'a.internal', first, null);
    for (const room of [0, 4, 8]) {
      disk.leave(room * KIB);
      const next = ca.issue(['a.internal'], Date.now());
      await assert.rejects(store.save('ca', 'a.internal', next, null), /the disk is full/);
      assert.deepEqual(await store.load('ca', 'a.internal'), { certificate: first, meta: null, problems: [] });
    }
    assert.deepEqual(readdirSync(path.join(disk.folder, 'certificates/ca/a.internal')).toSorted(), ['current', 'g-1']);
    disk.leave(32 * KIB);
    const last = ca.issue(['a.internal'], Date.now());
    await store.save('ca', 'a.internal', last, null);
    assert.equal((await store.load('ca', 'a.internal')).certificate?.serial, last.serial);
  },
);

test('a folder of another user is named as such, with who we are', { skip: noOtherUser }, async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-owner-'));
  try {
    const root = path.join(folder, 'state');
    await createFileStorage(root).write('a/b', 'secret');
    chmodSync(folder, 0o755);
    chownSync(root, 65534, 65534);
    const module = path.join(import.meta.dirname, '../src/certificates/storage/file_storage.ts');
    const script = `const { createFileStorage } = await import(${JSON.stringify(module)});
      const storage = createFileStorage(${JSON.stringify(root)});
      for (const action of [() => storage.read('a/b'), () => storage.write('a/b', ''), () => storage.problems()]) {
        console.log(await action().catch((error) => error.constructor.name + ' ' + error.message));
      }`;
    const nobody = '--reuid 65534 --regid 65534 --clear-groups'.split(' ');
    const { stdout, stderr } = await run(
      'setpriv',
      nobody.concat(process.execPath, '--input-type=module', '--eval', script),
    );
    assert.match(stdout, /StorageError .* cannot be read: uid 65534 has no right to it/, stderr);
    assert.match(stdout, /StorageError .* cannot be written: uid 65534 has no right to it/);
    assert.match(stdout, /a belongs to uid 0, not to uid 65534 this program runs as: chown -R 65534/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
