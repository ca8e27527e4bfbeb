import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { LaunchedService } from './launch.ts';
import type { PrestartOutcome } from './prestart.ts';
import { createReleases } from './releases.ts';
import type { Prepared, PrepareOptions, Release, ReleaseStore } from './releases.ts';
import { serviceConfig } from '../../test/support/values.ts';
import type { ServiceConfig } from '../config/config.ts';
import { createLogger, silentLogger } from '../log.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-releases-'));
  for (const name of ['1', '2']) mkdirSync(path.join(folder, name));
  point('1');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Where the link leads from now on. */
function point(name: string): void {
  rmSync(path.join(folder, 'current'), { force: true });
  symlinkSync(path.join(folder, name), path.join(folder, 'current'));
}

interface TestStore extends ReleaseStore {
  readonly values: Map<string, string>;
}

function createStore(): TestStore {
  const values = new Map<string, string>();
  let turn: Promise<unknown> = Promise.resolve();
  return {
    values,
    read: (key) => Promise.resolve(values.get(key) ?? null),
    write: async (key, content) => void values.set(key, content),
    withLock: (_name, _signal, work) => {
      const mine = turn.then(() => work({ assertHeld: () => Promise.resolve() }));
      turn = mine.catch(() => {});
      return mine;
    },
  };
}

function service(changes: Partial<ServiceConfig> = {}): LaunchedService {
  const prestart = [{ name: 'a', command: ['a'], shownCommand: ['a'], timeoutMs: 0 }];
  return { ...serviceConfig({ directory: path.join(folder, 'current'), prestart, ...changes }), command: ['app'] };
}

/** One control plane: what it prepares, and where it ran steps. */
function instance(store: ReleaseStore, outcome: () => PrestartOutcome = () => ({ ok: true })) {
  const releases = createReleases(store, silentLogger);
  const ran: string[] = [];
  const prepare = (changes: Partial<PrepareOptions> = {}): Promise<Prepared> =>
    releases.prepare({
      service: service(),
      name: null,
      first: false,
      signal: new AbortController().signal,
      onWait: () => {},
      run: async (placed) => {
        ran.push(path.basename(placed.directory));
        return outcome();
      },
      ...changes,
    });
  const made = async (changes: Partial<PrepareOptions> = {}): Promise<Release> => {
    const prepared = await prepare(changes);
    assert.ok(prepared.ok);
    return prepared.release;
  };
  return { ran, prepare, made, commit: releases.commit };
}

const FAILED: PrestartOutcome = { ok: false, step: 'a', reason: 'exit code 1', output: [] };

test('steps run once, in the directory the link leads to; later starts stay there', async () => {
  const store = createStore();
  const first = instance(store);
  const release = await first.made({ first: true });
  assert.equal(release.directory, path.join(folder, '1'));
  point('2');
  const next = instance(store);
  assert.deepEqual(await next.made({ first: true }), release);
  assert.deepEqual([first.ran, next.ran], [['1'], []]);
});

test('two instances that begin together run the steps once', async () => {
  const store = createStore();
  const [a, b] = [instance(store), instance(store)];
  const [one, other] = await Promise.all([a.made({ first: true }), b.made({ first: true })]);
  assert.deepEqual(one, other);
  assert.equal(a.ran.length + b.ran.length, 1);
});

test('another command, directory, step or value of "release" is another release; numbers and the environment are not', async () => {
  const store = createStore();
  const { ran, made } = instance(store);
  const { id } = await made({ first: true });
  const prestart = [{ name: 'b', command: ['b'], shownCommand: ['b'], timeoutMs: 0 }];
  const same = [
    { workers: 9 },
    { env: { A: 'b' } },
    { prestart: [{ name: 'a', command: ['a'], shownCommand: ['a'], timeoutMs: 5 }] },
  ];
  for (const changes of same) assert.equal((await made({ service: service(changes) })).id, id);
  assert.equal(ran.length, 1);
  const others = [{ release: '2' }, { prestart }, { directory: path.join(folder, '1') }];
  for (const changes of others) assert.notEqual((await made({ service: service(changes) })).id, id);
  assert.notEqual((await made({ service: { ...service(), command: ['other'] } })).id, id);
  assert.equal(ran.length, 5);
});

test('a named release runs its steps where the link leads now; it is started with only when it has served', async () => {
  const store = createStore();
  const { ran, made, commit } = instance(store);
  const old = await made({ first: true });
  point('2');
  const named = await made({ name: 'r2' });
  assert.deepEqual([named.name, named.directory], ['r2', path.join(folder, '2')]);
  // It did not become ready.
  assert.deepEqual(await instance(store).made({ first: true }), old);
  await commit(service(), named);
  assert.deepEqual(await instance(store).made({ first: true }), named);
  assert.deepEqual(ran, ['1', '2']);
});

test('a release that has served is gone back to without its steps, in its directory', async () => {
  const store = createStore();
  const { ran, made, commit } = instance(store);
  const first = await made({ name: 'r1', first: true });
  point('2');
  await commit(service(), await made({ name: 'r2' }));
  assert.deepEqual(await made({ name: 'r1' }), first);
  assert.deepEqual(ran, ['1', '2']);
});

test('a release that never served is made anew when the link has moved', async () => {
  const store = createStore();
  const { ran, made } = instance(store);
  await made({ first: true });
  await made({ name: 'r2' });
  await made({ name: 'r2' });
  point('2');
  assert.equal((await made({ name: 'r2' })).directory, path.join(folder, '2'));
  assert.deepEqual(ran, ['1', '1', '2']);
});

test('an earlier definition is another release: old code does not come back with it', async () => {
  const store = createStore();
  const { ran, made, commit } = instance(store);
  await made({ first: true });
  point('2');
  await commit(service(), await made({ service: service({ release: 'b' }) }));
  await commit(service(), await made({ service: service({ release: 'b' }), name: 'later' }));
  assert.equal((await made()).directory, path.join(folder, '2'));
  assert.deepEqual(ran, ['1', '2', '2', '2']);
});

test('steps that failed are run again, and the release before stays the one to start with', async () => {
  const store = createStore();
  const old = await instance(store).made({ first: true });
  const broken = instance(store, () => FAILED);
  assert.deepEqual(await broken.prepare({ name: 'r2' }), FAILED);
  assert.deepEqual(await broken.prepare({ name: 'r2' }), FAILED);
  assert.deepEqual(broken.ran, ['1', '1']);
  assert.deepEqual(await instance(store).made({ first: true }), old);
});

test('steps that were interrupted are run again, and it is said', async () => {
  const store = createStore();
  const never = instance(store);
  const killed = new Error('killed');
  const aborted = new AbortController();
  const run = (): Promise<never> => {
    aborted.abort();
    return Promise.reject(killed);
  };
  assert.equal((await never.prepare({ first: true, signal: aborted.signal, run })).ok, false);
  const lines: string[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) });
  const releases = createReleases(store, log);
  const again = await releases.prepare({
    service: service(),
    name: null,
    first: true,
    signal: new AbortController().signal,
    onWait: () => {},
    run: () => Promise.resolve({ ok: true }),
  });
  assert.ok(again.ok && again.ran);
  assert.match(lines.join(''), /prestart_repeated/);
});

test('a directory that was tidied away is replaced by where the link leads, without the steps', async () => {
  const store = createStore();
  await instance(store).made({ first: true });
  point('2');
  rmSync(path.join(folder, '1'), { recursive: true });
  const next = instance(store);
  assert.equal((await next.made({ first: true })).directory, path.join(folder, '2'));
  assert.deepEqual(next.ran, []);
});

test('without a store there are no steps; a service without any starts all the same', async () => {
  const away: ReleaseStore = {
    read: () => Promise.reject(new Error('the disk is gone')),
    write: () => Promise.reject(new Error('the disk is gone')),
    withLock: () => Promise.reject(new Error('the disk is gone')),
  };
  const { ran, prepare, made } = instance(away);
  const refused = await prepare({ first: true });
  assert.equal(refused.ok ? null : refused.reason, 'the disk is gone');
  assert.equal((await made({ first: true, service: service({ prestart: [] }) })).directory, path.join(folder, '1'));
  assert.deepEqual(ran, []);
});

test('what is kept and cannot be understood counts as nothing', async () => {
  const store = createStore();
  for (const text of ['', '{', '[]', '{"releases":[{"id":1}]}', 'null']) {
    store.values.set('releases/web.json', text);
    const next = instance(store);
    await next.made({ first: true });
    assert.deepEqual(next.ran, ['1'], text);
  }
});

test('releases are forgotten after many others, but the one that runs is not', async () => {
  const store = createStore();
  const { made } = instance(store);
  const running = await made({ name: 'running', first: true });
  for (let i = 0; i < 30; i++) await made({ name: `r${i}` });
  const next = instance(store);
  assert.deepEqual(await next.made({ first: true }), running);
  const { releases } = JSON.parse(store.values.get('releases/web.json') ?? '') as { releases: unknown[] };
  assert.ok(releases.length <= 23);
  assert.deepEqual(next.ran, []);
});
