/** One order at a time by a process of its own, which can be told when to die; what it leaves on disk and at the CA. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { startShim } from './acme_shim.ts';
import type { Shim } from './acme_shim.ts';
import { FIXTURES } from './daemon.ts';
import { startPebble } from './pebble.ts';
import type { Pebble } from './pebble.ts';
import { findAnswer } from '../../src/certificates/solvers/kept_answers.ts';
import { createFileStorage } from '../../src/certificates/storage/file_storage.ts';
import { issuerSlug } from '../../src/certificates/storage/keys.ts';
import { createCertificateStore } from '../../src/certificates/store.ts';
import type { IssuerConfig } from '../../src/config/config.ts';

const HOST = 'a.example.com';

export interface OrderBench extends AsyncDisposable {
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

export async function startOrderBench(): Promise<OrderBench> {
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
export async function assertSettled(
  folder: string,
  { shim }: OrderBench,
  at: string,
  mayLeaveJournal = false,
): Promise<void> {
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

export function countsOf({ pebble }: OrderBench): Counts {
  return { issued: pebble.issued(), accounts: pebble.accounts() };
}

export function assertOneOfEach(bench: OrderBench, before: Counts, at: string): void {
  const { issued, accounts } = countsOf(bench);
  assert.deepEqual([issued - before.issued, accounts - before.accounts], [1, 1], `certificates and accounts, ${at}`);
}
