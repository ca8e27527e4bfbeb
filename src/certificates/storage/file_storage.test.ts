import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createFileStorage } from './file_storage.ts';
import { createMemoryStorage } from './memory_storage.ts';
import { StorageError } from './storage.ts';
import type { Storage } from './storage.ts';

const forever = new AbortController().signal;

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-storage-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const KINDS: Readonly<Record<string, () => Storage>> = {
  file: () => createFileStorage(path.join(folder, 'state')),
  memory: createMemoryStorage,
};

for (const [kind, create] of Object.entries(KINDS)) {
  test(`${kind}: gives back what was written last, and null for what never was`, async () => {
    const storage = create();
    assert.equal(await storage.read('a/b/c'), null);
    await storage.write('a/b/c', 'one');
    await storage.write('a/b/c', 'two');
    assert.equal(await storage.read('a/b/c'), 'two');
    assert.equal(await storage.read('a/b'), null);
    assert.equal(await storage.read('a/b/c/d'), null);
  });

  test(`${kind}: lists the next words below a prefix and removes what is below`, async () => {
    const storage = create();
    for (const key of ['a/x/1', 'a/x/2', 'a/y', 'b/z']) await storage.write(key, '');
    assert.deepEqual([...(await storage.list('a'))].toSorted(), ['x', 'y']);
    assert.deepEqual(await storage.list('c'), []);
    await storage.remove('a/x');
    await storage.remove('a/x');
    assert.deepEqual(await storage.list('a'), ['y']);
    assert.equal(await storage.read('a/x/1'), null);
    assert.equal(await storage.read('b/z'), '');
  });

  test(`${kind}: a pointer names its neighbour, is listed, replaced and removed`, async () => {
    const storage = create();
    assert.equal(await storage.pointee('a/current'), null);
    await storage.point('a/current', 'g-1');
    await storage.point('a/current', 'g-2');
    assert.equal(await storage.pointee('a/current'), 'g-2');
    assert.deepEqual(await storage.list('a'), ['current']);
    await storage.remove('a/current');
    assert.equal(await storage.pointee('a/current'), null);
  });

  test(`${kind}: a lock is held by one at a time, in the order of asking, and passed on after a failure`, async () => {
    const storage = create();
    const seen: string[] = [];
    const job = (name: string, fail = false): Promise<void> =>
      storage.withLock('one', forever, async (lock) => {
        seen.push(`${name} begins`);
        await lock.assertHeld();
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(`${name} ends`);
        if (fail) throw new Error(name);
      });
    const failing = assert.rejects(job('a', true), /^Error: a$/);
    await Promise.all([failing, job('b'), job('c')]);
    assert.deepEqual(seen, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  test(`${kind}: who waits for a lock gives up with the signal's reason, and lets the next one by`, async () => {
    const storage = create();
    const release = Promise.withResolvers<void>();
    const first = storage.withLock('one', forever, () => release.promise);
    const giving = new AbortController();
    const second = storage.withLock('one', giving.signal, () => Promise.reject(new Error('it ran')));
    const third = storage.withLock('one', forever, () => Promise.resolve('third'));
    giving.abort(new Error('enough'));
    await assert.rejects(second, /enough/);
    release.resolve();
    await first;
    assert.equal(await third, 'third');
  });

  test(`${kind}: locks of different names do not wait for each other`, async () => {
    const storage = create();
    const value = await storage.withLock('a/b', forever, () => storage.withLock('a', forever, async () => 'both'));
    assert.equal(value, 'both');
  });
}

test('whatever the umask, folders are 0700 and files 0600', () => {
  const module = path.join(import.meta.dirname, 'file_storage.ts');
  for (const umask of ['0', '0777']) {
    const state = path.join(folder, umask);
    mkdirSync(state);
    const script = `process.umask(0o${umask}); const { createFileStorage } = await import(${JSON.stringify(module)});
      const storage = createFileStorage(${JSON.stringify(state)});
      await storage.write('a/b', 'x'); await storage.point('a/current', 'b');`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script]);
    assert.equal(status, 0, String(stderr));
    assert.equal(statSync(path.join(state, 'a')).mode & 0o777, 0o700);
    assert.equal(statSync(path.join(state, 'a/b')).mode & 0o777, 0o600);
  }
});

test('a root it makes itself is closed to others', async () => {
  await createFileStorage(path.join(folder, 'state')).write('a', '');
  assert.equal(statSync(path.join(folder, 'state')).mode & 0o777, 0o700);
});

test('no key leads out of the folder or to a hidden file', async () => {
  const storage = createFileStorage(path.join(folder, 'state'));
  for (const key of ['..', '../x', 'a/../b', 'a//b', '/a', 'a/', '.new-1', '', 'a\0b', 'ä', 'a'.repeat(241)]) {
    await assert.rejects(storage.write(key, ''), StorageError, key);
    await assert.rejects(storage.read(key), StorageError, key);
    await assert.rejects(storage.point('a', key), StorageError, key);
    await assert.rejects(
      storage.withLock(key, forever, () => Promise.resolve()),
      StorageError,
      key,
    );
  }
  for (const key of ['-token_A', '_wildcard.a.example', 'fd00::1', 'a'.repeat(240)]) await storage.write(key, key);
  assert.deepEqual(readdirSync(folder), ['state']);
});

test('what is unfinished is no key, and a pointer that leads elsewhere is none', async () => {
  const storage = createFileStorage(folder);
  await storage.write('a/b', '');
  writeFileSync(path.join(folder, 'a/.new-123'), 'half');
  symlinkSync('../../etc', path.join(folder, 'a/current'));
  assert.deepEqual([...(await storage.list('a'))].toSorted(), ['b', 'current']);
  assert.equal(await storage.pointee('a/current'), null);
});

test('leaves no draft behind, and the probe leaves nothing', async () => {
  const storage = createFileStorage(folder);
  await storage.write('a/b', '1');
  await storage.write('a/b', '2');
  await storage.point('a/current', 'b');
  await storage.withLock('x', forever, () => Promise.resolve());
  await storage.remove('a');
  await storage.probe();
  assert.deepEqual(readdirSync(folder, { recursive: true }), ['locks']);
});

test('what killed writers left is removed an hour after, and nothing else', async () => {
  const storage = createFileStorage(folder);
  await storage.write('a/b', 'kept');
  writeFileSync(path.join(folder, 'a/.new-0123456789abcdef'), 'half a key');
  const removed = '.new-fedcba9876543210';
  mkdirSync(path.join(folder, removed));
  writeFileSync(path.join(folder, removed, 'key.pem'), 'of a removed one');
  writeFileSync(path.join(folder, '.new-ideas'), 'not ours');
  await storage.sweep(Date.now() + 3_500_000);
  assert.deepEqual(readdirSync(folder).toSorted(), [removed, '.new-ideas', 'a']);
  await storage.sweep(Date.now() + 3_700_000);
  assert.deepEqual(readdirSync(folder, { recursive: true }).toSorted(), ['.new-ideas', 'a', 'a/b']);
  await createFileStorage(path.join(folder, 'nothing')).sweep(Date.now());
});

test('a writer killed at any moment leaves the old text or the new one', async () => {
  const module = path.join(import.meta.dirname, 'file_storage.ts');
  const script = `const { createFileStorage } = await import(${JSON.stringify(module)});
    const storage = createFileStorage(${JSON.stringify(folder)});
    for (let i = 0; ; i++) { await storage.write('a/b', String(i % 10).repeat(50_000)); process.stdout.write('.'); }`;
  const storage = createFileStorage(folder);
  for (let round = 0; round < 10; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    // Each time at another point of its work.
    for (let i = 0; i < round * 7; i++) await new Promise((resolve) => setImmediate(resolve));
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.match((await storage.read('a/b')) ?? 'nothing', /^(\d)\1{49999}$/);
    assert.deepEqual(await storage.list('a'), ['b']);
  }
});

test('says what to do when the folder cannot be made', async () => {
  writeFileSync(path.join(folder, 'file'), '');
  const storage = createFileStorage(path.join(folder, 'file/state'));
  await assert.rejects(storage.probe(), /the state folder .*file\/state cannot be written.*see storage\.root/);
  await assert.rejects(
    storage.withLock('a', forever, () => Promise.resolve()),
    StorageError,
  );
});

test('tells of each file and folder that others can read or change, and goes on serving it', async () => {
  const storage = createFileStorage(folder);
  await storage.write('a/key.pem', 'secret');
  assert.deepEqual(await storage.problems(), []);
  chmodSync(path.join(folder, 'a/key.pem'), 0o644);
  chmodSync(path.join(folder, 'a'), 0o750);
  const [folderProblem, keyProblem, ...others] = await storage.problems();
  assert.match(folderProblem ?? '', /a has mode 0750, so others have rights to it: chmod -R go= /);
  assert.match(
    keyProblem ?? '',
    /key\.pem has mode 0644, so others can read it: chmod -R go= .*, then renew with a new key/,
  );
  assert.deepEqual(others, []);
  assert.equal(await storage.read('a/key.pem'), 'secret');
  assert.deepEqual(await createFileStorage(path.join(folder, 'nothing')).problems(), []);
});

test('twenty open files are not twenty sentences', async () => {
  const storage = createFileStorage(folder);
  for (let i = 0; i < 20; i++) {
    await storage.write(`f-${i}`, '');
    chmodSync(path.join(folder, `f-${i}`), 0o644);
  }
  const problems = await storage.problems();
  assert.equal(problems.length, 11);
  assert.match(problems.at(-1) ?? '', /and 10 more/);
});
