/** Locks between processes: who holds one keeps it while alive, and nobody waits long for the dead. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { afterEach, beforeEach, test } from 'node:test';
import { run } from './support/processes.ts';
import { createFileStorage } from '../src/certificates/storage/file_storage.ts';
import type { Lock } from '../src/certificates/storage/storage.ts';
import { sleep } from '../src/lifecycle.ts';

const HOLDER = path.join(import.meta.dirname, 'fixtures/lock_holder.ts');
const NAME = 'certificates/ca/a.example';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-locks-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Holder extends AsyncDisposable {
  kill(signal: NodeJS.Signals): void;
  /** What it says of its lock now. */
  ask(): Promise<string>;
  /** Gives the lock back and ends. */
  release(): void;
  readonly ended: Promise<unknown>;
}

/** Resolves when the process has the lock. */
async function startHolder(wrapper: readonly string[] = []): Promise<Holder> {
  const [command = '', ...args] = [...wrapper, process.execPath, HOLDER, 'hold', folder, NAME];
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await lines.next()).value);
  assert.equal(await next(), 'held');
  return {
    kill: (signal) => void child.kill(signal),
    ask: async () => {
      child.stdin.write('\n');
      return next();
    },
    release: () => void child.stdin.end(),
    ended,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** How long it took to get the lock, in milliseconds. */
async function take(withinMs: number): Promise<number> {
  const begun = performance.now();
  await createFileStorage(folder).withLock(NAME, AbortSignal.timeout(withinMs), (lock) => lock.assertHeld());
  return performance.now() - begun;
}

test('two processes that count under one lock lose no number', async () => {
  const ends = await Promise.all([1, 2].map(() => run(process.execPath, [HOLDER, 'count', folder, NAME, '30'])));
  for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
  assert.equal(await createFileStorage(folder).read('count'), '60');
});

test('nobody gets a lock whose holder lives, and the next one as soon as it is given back', async () => {
  await using holder = await startHolder();
  await assert.rejects(take(3_000), { name: 'TimeoutError' });
  assert.equal(await holder.ask(), 'held');
  const waiting = take(10_000);
  holder.release();
  await waiting;
});

test('the lock of a killed process of this machine is taken over at once', async () => {
  await using holder = await startHolder();
  holder.kill('SIGKILL');
  await holder.ended;
  const ms = await take(15_000);
  assert.ok(ms < 2_000, `${ms} ms`);
});

test('the lock of a process that shows no life is taken over within 15 s, and it finds out', async () => {
  await using holder = await startHolder();
  holder.kill('SIGSTOP');
  const ms = await take(15_000);
  // Its last beat may have been anything up to one beat ago.
  assert.ok(ms > 5_000, `${ms} ms`);
  holder.kill('SIGCONT');
  assert.equal(await holder.ask(), 'lost');
});

test('the lock of a killed process of another machine is taken over within 15 s', async () => {
  await using holder = await startHolder();
  holder.kill('SIGKILL');
  await holder.ended;
  const file = path.join(folder, 'locks', `${NAME}.lock`);
  writeFileSync(file, readFileSync(file, 'utf8').replace(/"boot":"[^"]*"/, '"boot":"another"'));
  await take(15_000);
});

test('of many that find the lock of a dead process, one at a time gets it', async () => {
  await using holder = await startHolder();
  holder.kill('SIGKILL');
  await holder.ended;
  let inside = 0;
  let most = 0;
  const work = async (lock: Lock): Promise<void> => {
    most = Math.max(most, ++inside);
    await sleep(20);
    await lock.assertHeld();
    inside -= 1;
  };
  // Each with a storage of its own: between these only the file counts.
  const jobs = Array.from({ length: 10 }, () =>
    createFileStorage(folder).withLock(NAME, AbortSignal.timeout(15_000), work),
  );
  await Promise.all(jobs);
  assert.equal(most, 1);
});

test('an empty lock file is nobody’s: it is taken over after 2 s', async () => {
  const file = path.join(folder, 'locks', `${NAME}.lock`);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, '');
  const ms = await take(15_000);
  assert.ok(ms >= 1_900 && ms < 6_000, `${ms} ms`);
});

const noNamespaces = process.getuid?.() !== 0 && 'making a pid namespace needs root';
test('a process number of another container is not taken for one of ours', { skip: noNamespaces }, async () => {
  await using holder = await startHolder(['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']);
  await assert.rejects(take(2_000), { name: 'TimeoutError' });
  assert.equal(await holder.ask(), 'held');
});

test('a lock taken out of its holder’s hands by mistake is lost, not shared', async () => {
  const storage = createFileStorage(folder);
  await using holder = await storage.withLock(NAME, AbortSignal.timeout(15_000), async (lock) => {
    await lock.assertHeld();
    rmSync(path.join(folder, 'locks', `${NAME}.lock`));
    const other = await startHolder();
    await assert.rejects(lock.assertHeld(), /another instance took over the lock/);
    return other;
  });
  assert.equal(await holder.ask(), 'held', 'giving ours back took nothing from the other');
});
