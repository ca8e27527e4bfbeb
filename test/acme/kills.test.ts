/**
 * `kill -9` at any moment of an order: whoever starts next finishes it. The child dies right after each change of the
 * storage (what is on disk is ahead of the CA), and right after each answer of the CA (which is ahead of the disk).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { rewrite, startShim } from '../support/acme_shim.ts';
import type { Endpoint, Shim } from '../support/acme_shim.ts';
import { FIXTURES } from '../support/daemon.ts';
import { startPebble } from '../support/pebble.ts';
import type { Pebble } from '../support/pebble.ts';
import { findAnswer, removeExpiredAnswers } from '../../src/certificates/solvers/kept_answers.ts';
import { createFileStorage } from '../../src/certificates/storage/file_storage.ts';
import { issuerSlug } from '../../src/certificates/storage/keys.ts';
import { createCertificateStore } from '../../src/certificates/store.ts';
import type { IssuerConfig } from '../../src/config/config.ts';

const HOST = 'a.example.com';
const SLOW = { timeout: 300_000 };

interface Bench extends AsyncDisposable {
  readonly pebble: Pebble;
  readonly shim: Shim;
  /** A fresh folder from now on. */
  begin(): string;
  /** Runs until it ends, or dies. */
  run(options?: RunOptions): Promise<{ readonly killed: boolean; readonly said: string }>;
}

interface RunOptions {
  /** A change of the storage by its number, or a part of its key. */
  readonly dieAfter?: string;
  /** Serial number of the certificate that is due. */
  readonly replaced?: string;
  readonly started?: (child: ChildProcess) => void;
}

async function startBench(): Promise<Bench> {
  const folders: string[] = [];
  const cache = mkdtempSync(path.join(os.tmpdir(), 'proxy-kills-cache-'));
  // What the control plane's proxies do: answer from the storage.
  const server = http.createServer((request, response) => {
    const token = request.url?.replace('/.well-known/acme-challenge/', '') ?? '';
    void findAnswer(createFileStorage(folders.at(-1) ?? ''), 'http-01', token, Date.now()).then((answer) =>
      response.writeHead(answer === null ? 404 : 200).end(answer),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const env = { PEBBLE_WFE_NONCEREJECT: '0' };
  const pebble = await startPebble({ httpPort: (server.address() as AddressInfo).port, env });
  const shim = await startShim(pebble);
  const issuer: IssuerConfig = {
    ca: shim.directoryUrl,
    testCa: shim.directoryUrl,
    trustedRoots: [shim.trustedRoot],
    profile: null,
    eab: null,
    preferredChain: null,
  };
  return {
    pebble,
    shim,
    begin: () => {
      const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-kills-'));
      folders.push(folder);
      return folder;
    },
    run: ({ dieAfter = '', replaced = '', started = () => {} } = {}) =>
      new Promise((resolve, reject) => {
        const file = path.join(FIXTURES, 'obtain_once.ts');
        const child = spawn(
          process.execPath,
          [file, folders.at(-1) ?? '', HOST, JSON.stringify(issuer), dieAfter, replaced],
          {
            // They all load the same.
            env: { ...process.env, NODE_COMPILE_CACHE: cache },
          },
        );
        let said = '';
        child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
        child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
        child.on('error', reject);
        child.on('close', (code, signal) => {
          if (code !== 0 && signal === null) return reject(new Error(said));
          resolve({ killed: signal === 'SIGKILL', said: said.trim() });
        });
        started(child);
      }),
    [Symbol.asyncDispose]: async () => {
      await shim[Symbol.asyncDispose]();
      await pebble[Symbol.asyncDispose]();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      for (const folder of [cache, ...folders]) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What is on disk now is one certificate with its key, and nothing of how it came there. */
async function assertSettled(folder: string, { shim }: Bench, at: string, mayLeaveJournal = false): Promise<void> {
  const storage = createFileStorage(folder);
  const { certificate, problems } = await createCertificateStore(storage).load(issuerSlug(shim.directoryUrl), HOST);
  assert.deepEqual([certificate?.names, problems], [[HOST], []], at);
  const orders = await storage.list(`orders/${issuerSlug(shim.directoryUrl)}`);
  assert.deepEqual(
    orders.filter((word) => !word.endsWith('.solved.json') && !mayLeaveJournal),
    [],
    at,
  );
  assert.deepEqual(await storage.list('challenges/http-01'), [], at);
}

interface Counts {
  readonly issued: number;
  readonly accounts: number;
}

function countsOf({ pebble }: Bench): Counts {
  return { issued: pebble.issued(), accounts: pebble.accounts() };
}

function assertOneOfEach(bench: Bench, before: Counts, at: string): void {
  const { issued, accounts } = countsOf(bench);
  assert.deepEqual([issued - before.issued, accounts - before.accounts], [1, 1], `certificates and accounts, ${at}`);
}

test('killed after any change of the storage: one certificate, one account, nothing left over', SLOW, async () => {
  await using bench = await startBench();
  let survived = false;
  let kills = 0;
  for (let change = 1; !survived; change++) {
    const folder = bench.begin();
    const before = countsOf(bench);
    const orders = bench.shim.count('newOrder');
    const at = `killed after change ${change}`;
    const first = await bench.run({ dieAfter: String(change) });
    survived = !first.killed;
    if (first.killed) kills++;
    const { killed, said } = await bench.run();
    assert.ok(!killed && /^(obtained|kept)$/.test(said), `${at}: ${said}`);
    assertOneOfEach(bench, before, at);
    // What is kept is never ahead of what is asked: no order is made twice.
    assert.equal(bench.shim.count('newOrder') - orders, 1, at);
    // Whoever dies between the certificate and its journal leaves it to the next renewal, which knows the serial number.
    await assertSettled(folder, bench, at, first.killed && said === 'kept');
  }
  // Account, key, intent, order, answer, finalization, generation, pointer, journal, ledger.
  assert.ok(kills >= 15, `${kills} kills`);
});

const STEPS: readonly Endpoint[] = [
  'newAccount',
  'newOrder',
  'authorization',
  'challenge',
  'order',
  'finalize',
  'certificate',
];
test('killed when the CA has acted and nobody has written it down: one certificate, one account', async () => {
  await using bench = await startBench();
  for (const endpoint of STEPS) {
    const folder = bench.begin();
    const before = countsOf(bench);
    let child: ChildProcess | null = null;
    bench.shim.script(
      endpoint,
      rewrite((answer) => {
        child?.kill('SIGKILL');
        return answer;
      }),
      { times: 1 },
    );
    const first = await bench.run({ started: (started) => void (child = started) });
    assert.ok(first.killed, endpoint);
    const { killed, said } = await bench.run();
    assert.ok(!killed && said === 'obtained', `${endpoint}: ${said}`);
    assertOneOfEach(bench, before, endpoint);
    await assertSettled(folder, bench, endpoint);
  }
});

// It takes a minute where nothing else runs.
test('a hundred restarts that die before the certificate is kept cost one order and one account', SLOW, async () => {
  await using bench = await startBench();
  const folder = bench.begin();
  const before = countsOf(bench);
  for (let restart = 0; restart < 100; restart++) {
    const { killed, said } = await bench.run({ dieAfter: '/key.pem' });
    // The account's key is the first of that name; then it is the generation's.
    assert.ok(killed, said);
  }
  assert.equal(bench.shim.count('newOrder'), 1);
  assert.equal((await bench.run()).said, 'obtained');
  assertOneOfEach(bench, before, 'after all');
  assert.equal(bench.shim.count('newOrder'), 1);
  assert.equal(bench.shim.count('finalize'), 1);
  await assertSettled(folder, bench, 'after all');
  // Another start has nothing to do.
  const asked = bench.shim.requests.length;
  assert.equal((await bench.run()).said, 'kept');
  assert.equal(bench.shim.requests.length, asked);
});

test('a journal that outlived its certificate does not pass the old one off as the next', async () => {
  await using bench = await startBench();
  const folder = bench.begin();
  assert.ok((await bench.run({ dieAfter: '/current' })).killed);
  assert.equal((await bench.run()).said, 'kept');
  const store = createCertificateStore(createFileStorage(folder));
  const serial = async (): Promise<string> =>
    (await store.load(issuerSlug(bench.shim.directoryUrl), HOST)).certificate?.serial ?? '';
  const replaced = await serial();
  assert.equal((await bench.run({ replaced })).said, 'obtained');
  assert.notEqual(await serial(), replaced);
  assert.equal(bench.shim.count('newOrder'), 2);
  await assertSettled(folder, bench, 'after the renewal');
});

test('of two instances that find it due at once one orders, and both have it', async () => {
  await using bench = await startBench();
  const folder = bench.begin();
  const said = (await Promise.all([bench.run(), bench.run()])).map((it) => it.said).toSorted();
  assert.ok(said.includes('obtained') && (said.includes('not_needed') || said.includes('kept')), said.join());
  assert.equal(bench.shim.count('newOrder'), 1);
  assert.equal(bench.pebble.accounts(), 1);
  await assertSettled(folder, bench, 'after both');
});

test('answers that nobody is left to take away are not given for long', async () => {
  await using bench = await startBench();
  const folder = bench.begin();
  const { killed } = await bench.run({ dieAfter: 'challenges/' });
  assert.ok(killed);
  const tokens = readdirSync(path.join(folder, 'challenges/http-01'));
  assert.equal(tokens.length, 1);
  const storage = createFileStorage(folder);
  const later = Date.now() + 11 * 60_000;
  assert.equal(await findAnswer(storage, 'http-01', tokens[0] ?? '', later), null);
  await removeExpiredAnswers(storage, later);
  assert.deepEqual(await storage.list('challenges/http-01'), []);
});
