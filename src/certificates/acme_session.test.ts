/** The one seam into acme-client, held to its contract: every request goes through our transport. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import acme from 'acme-client';
import { AcmeProblem, AcmeTransportError, openAcmeSession } from './acme_session.ts';
import type { AcmeSession } from './acme_session.ts';
import { openInternalCa, ROOT_FILE } from './internal_ca.ts';
import { codeOf } from './outcome.ts';
import { createFileStorage } from './storage/file_storage.ts';

interface FakeAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

interface FakeCa extends AsyncDisposable {
  readonly session: AcmeSession;
  readonly asked: string[];
}

/** An ACME server that answers `newAccount` by the script, one answer each. */
async function startFakeCa(script: readonly FakeAnswer[], directory?: FakeAnswer): Promise<FakeCa> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-acme-'));
  const storage = createFileStorage(folder);
  const { chain, key } = (await openInternalCa(storage, Date.now())).issue(['localhost', '127.0.0.1'], Date.now());
  const asked: string[] = [];
  const answers = [...script];
  let nonces = 0;
  const server = https.createServer({ cert: chain, key }, (request: IncomingMessage, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume();
    request.on('end', () => {
      const base = `https://localhost:${(server.address() as AddressInfo).port}`;
      const standard: FakeAnswer = {
        status: 200,
        body: { newNonce: `${base}/nonce`, newAccount: `${base}/account`, newOrder: `${base}/order` },
      };
      const answer =
        request.url === '/dir' ? (directory ?? standard) : request.url === '/nonce' ? { status: 200 } : answers.shift();
      const { status, headers, body } = answer ?? { status: 500 };
      response.writeHead(status, {
        'content-type': status >= 400 ? 'application/problem+json' : 'application/json',
        'replay-nonce': `n${nonces++}`,
        ...headers,
      });
      response.end(body === undefined ? '' : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const root = path.join(folder, 'ca.pem');
  writeFileSync(root, (await storage.read(ROOT_FILE)) ?? '');
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const session = await openAcmeSession({
    directoryUrl: `https://localhost:${port}/dir`,
    accountKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    trustedRoots: [root],
    signal: new AbortController().signal,
  });
  return {
    session,
    asked,
    [Symbol.asyncDispose]: async () => {
      await session.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
}

const ACCOUNT: FakeAnswer = {
  status: 201,
  headers: { location: 'https://localhost/acct/1' },
  body: { status: 'valid' },
};

function problem(type: string, status: number, headers: Record<string, string> = {}): FakeAnswer {
  return { status, headers, body: { type: `urn:ietf:params:acme:error:${type}`, detail: `it is ${type}` } };
}

function register(session: AcmeSession): Promise<unknown> {
  return session.client.createAccount({ termsOfServiceAgreed: true });
}

test("every request is ours, none the library's own", async () => {
  const before = acme.axios.defaults.adapter;
  acme.axios.defaults.adapter = () => assert.fail('axios was used');
  try {
    await using ca = await startFakeCa([ACCOUNT]);
    await register(ca.session);
    assert.deepEqual(ca.asked, ['GET /dir', 'HEAD /nonce', 'POST /account']);
    assert.equal(ca.session.requests, ca.asked.length);
  } finally {
    if (before !== undefined) acme.axios.defaults.adapter = before;
  }
});

test('signs again when the nonce was bad', async () => {
  await using ca = await startFakeCa([problem('badNonce', 400), problem('badNonce', 400), ACCOUNT]);
  await register(ca.session);
  assert.equal(ca.asked.filter((line) => line === 'POST /account').length, 3);
});

test('a rate limit comes at once, with its type and its time, and is not retried', async () => {
  await using ca = await startFakeCa([problem('rateLimited', 429, { 'retry-after': '3600' })]);
  const error = await register(ca.session).catch((reason: unknown) => reason);
  assert.ok(error instanceof AcmeProblem);
  assert.deepEqual(
    [error.type, error.status, error.message, codeOf(error)],
    ['rateLimited', 429, 'it is rateLimited', 6],
  );
  assert.ok(Math.abs((error.retryAt ?? 0) - Date.now() - 3_600_000) < 5_000);
  assert.equal(ca.asked.filter((line) => line === 'POST /account').length, 1);
});

test('an outage of the CA is told from a refusal', async () => {
  await using ca = await startFakeCa([{ status: 503 }]);
  const error = await register(ca.session).catch((reason: unknown) => reason);
  assert.ok(error instanceof AcmeProblem);
  assert.equal(codeOf(error), 4);
});

test('what answers without a directory is no CA', async () => {
  await using ca = await startFakeCa([], { status: 200, body: { login: 'please' } });
  await assert.rejects(register(ca.session), /no ACME directory/);
});

test('a CA that is not there is a transport error with its cause', async () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const session = await openAcmeSession({
    directoryUrl: 'https://localhost:1/dir',
    accountKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    trustedRoots: [],
    signal: new AbortController().signal,
  });
  const error = await register(session).catch((reason: unknown) => reason);
  await session.close();
  assert.ok(error instanceof AcmeTransportError);
  assert.equal(codeOf(error), 4);
  assert.ok(error.cause instanceof Error);
});
