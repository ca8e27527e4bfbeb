import assert from 'node:assert/strict';
import http from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fetchChallenge, refusal } from './challenge_fetch.ts';
import type { FetchOutcome } from './challenge_fetch.ts';
import { createSelfSigned } from '../../../test/support/self_signed.ts';

const HOST = 'app.example.com';
const VALUE = 'the-value';

interface Server extends AsyncDisposable {
  readonly port: number;
}

async function listening(server: http.Server | https.Server | net.Server): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      if ('closeAllConnections' in server) server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  return listening(http.createServer(answer));
}

function fetchFrom(
  port: number,
  { https = null, resolve = [], signal = new AbortController().signal }: FetchMore = {},
): Promise<FetchOutcome> {
  return fetchChallenge({
    host: HOST,
    address: '127.0.0.1',
    token: 'tok',
    value: VALUE,
    ports: { http: port, https },
    resolve: () => Promise.resolve(resolve),
    signal,
  });
}

interface FetchMore {
  readonly https?: number | null;
  readonly resolve?: readonly string[];
  readonly signal?: AbortSignal;
}

test('asks the given address for the path of the challenge, under the name', async () => {
  let asked = '';
  await using server = await serve((request, response) => {
    asked = `${request.method} ${request.headers.host} ${request.url}`;
    response.end(VALUE);
  });
  assert.deepEqual(await fetchFrom(server.port), { kind: 'ours', redirects: [] });
  assert.equal(asked, `GET ${HOST}:${server.port} /.well-known/acme-challenge/tok`);
});

test('tells an answer that is not ours by its status and server, and one that is too long', async () => {
  await using other = await serve((_request, response) => {
    response.writeHead(200, { server: 'parking' });
    response.end('hello');
  });
  const outcome = await fetchFrom(other.port);
  assert.ok(outcome.kind === 'other', outcome.kind);
  assert.deepEqual([outcome.status, outcome.server], [200, 'parking']);
  await using long = await serve((_request, response) => {
    response.write(VALUE);
    // An endless page must not be read to its end.
    const more = (): void => {
      if (!response.destroyed && response.write('x'.repeat(1_000))) setImmediate(more);
    };
    more();
  });
  assert.equal((await fetchFrom(long.port)).kind, 'too_long');
});

test('follows redirects to https without asking for its certificate, to other names by their addresses', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-fetch-'));
  try {
    const { key, certificate } = await createSelfSigned(folder, 'elsewhere.example');
    await using secure = await listening(
      https.createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (_request, response) => {
        response.end(VALUE);
      }),
    );
    const location = `https://other.example.com:${secure.port}/x`;
    await using plain = await serve((_request, response) => response.writeHead(301, { location }).end());
    const outcome = await fetchFrom(plain.port, { https: secure.port, resolve: ['127.0.0.1'] });
    assert.deepEqual(outcome, { kind: 'ours', redirects: [location] });
    const nowhere = await fetchFrom(plain.port, { https: secure.port });
    assert.ok(nowhere.kind === 'redirect_refused');
    assert.match(nowhere.reason, /other\.example\.com has no address/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('ends a loop, and a chain of more than ten', async () => {
  await using circle = await serve((request, response) => {
    response.writeHead(302, { location: request.url === '/a' ? '/b' : '/a' }).end();
  });
  const outcome = await fetchFrom(circle.port);
  assert.ok(outcome.kind === 'loop');
  assert.equal(outcome.urls.length, 4);
  let served = 0;
  await using chain = await serve((_request, response) => {
    response.writeHead(302, { location: `/step-${served++}` }).end();
  });
  assert.equal((await fetchFrom(chain.port)).kind, 'loop');
  assert.equal(served, 11, 'the first and ten redirects');
});

test('refuses redirects that a CA does not follow, and those to where clouds keep secrets', async () => {
  const ports = { http: 80, https: 443 };
  const no = (url: string): boolean => refusal(new URL(url), ports) !== null;
  assert.deepEqual(['https://a.example/', 'http://a.example:80/', 'https://a.example:443/'].map(no), [
    false,
    false,
    false,
  ]);
  for (const url of ['ftp://a.example/', 'http://a.example:8080/', 'https://192.0.2.1/', 'http://[2001:db8::1]/']) {
    assert.ok(no(url), url);
  }
  let port = 0;
  await using server = await serve((_request, response) => {
    response.writeHead(302, { location: `http://metadata.example.com:${port}/latest/` }).end();
  });
  ({ port } = server);
  const outcome = await fetchFrom(port, { resolve: ['169.254.169.254'] });
  assert.ok(outcome.kind === 'redirect_refused');
  assert.match(outcome.reason, /link-local/);
});

test('tells a closed port from an address that is silent, and gives up when it is told to', async () => {
  const gone = await serve(() => {});
  await gone[Symbol.asyncDispose]();
  const refused = await fetchFrom(gone.port);
  assert.ok(refused.kind === 'no_connection');
  assert.equal(refused.code, 'ECONNREFUSED');
  await using silent = await listening(net.createServer((socket) => socket.on('error', () => {}).resume()));
  const begun = Date.now();
  const timedOut = await fetchFrom(silent.port);
  assert.ok(timedOut.kind === 'no_connection');
  assert.equal(timedOut.code, 'ETIMEDOUT');
  assert.ok(Date.now() - begun < 7_000);
  const giveUp = new AbortController();
  const abandoned = assert.rejects(fetchFrom(silent.port, { signal: giveUp.signal }), /enough/);
  giveUp.abort(new Error('enough'));
  await abandoned;
});
