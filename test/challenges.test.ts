/**
 * Answers to a CA by a running daemon. The orders are made by the test, on the daemon's own state folder: it is another
 * instance, of whose answers the daemon learns by the storage alone.
 */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { createAnswerBoard } from '../src/certificates/solvers/answer_board.ts';
import type { AnswerOptions } from '../src/certificates/solvers/answers.ts';
import { createHttp01 } from '../src/certificates/solvers/http01.ts';
import type { Challenge } from '../src/certificates/solvers/solver.ts';
import { createTlsAlpn01 } from '../src/certificates/solvers/tls_alpn01.ts';
import { createFileStorage } from '../src/certificates/storage/file_storage.ts';
import { silentLogger } from '../src/log.ts';
import { orderBy } from './support/acme_order.ts';
import { freePort, RECORDING_SERVICE, startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon, Ports } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { startPebble } from './support/pebble.ts';
import { run } from './support/processes.ts';

const SITES = `sites:
  - { hosts: [app.example.com], service: web, tls: internal }
  - { hosts: [old.example.com], tls: internal, routes: [{ path: /, redirect: { to: "https://app.example.com/" } }] }
${RECORDING_SERVICE}`;
const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyP2KiDhCSSs';

async function freePorts(): Promise<Ports> {
  return { http: await freePort(), https: await freePort() };
}

/** What an instance beside the daemon hangs its answers on: it has no proxies. */
function beside(daemon: Daemon): AnswerOptions {
  return {
    board: createAnswerBoard(() => Promise.resolve()),
    storage: createFileStorage(path.join(daemon.folder, 'state')),
    log: silentLogger,
  };
}

function challenge(changes: Partial<Challenge> = {}): Challenge {
  return {
    type: 'http-01',
    identifier: { type: 'dns', value: 'app.example.com' },
    wildcard: false,
    token: TOKEN,
    keyAuthorization: `${TOKEN}.thumbprint`,
    accountUrl: '',
    ...changes,
  };
}

async function ask(daemon: Daemon, host: string, token: string, ...args: readonly string[]): Promise<string> {
  const url = `http://127.0.0.1:${daemon.ports.http}/.well-known/acme-challenge/${token}`;
  const { stdout, stderr } = await run('curl', ['-sSi', ...args, '-H', `Host: ${host}`, url]);
  return stdout + stderr;
}

/** Subject of the certificate a CA is shown, or what openssl said instead. */
async function shownToCa(daemon: Daemon, name: string): Promise<string> {
  const address = `127.0.0.1:${daemon.ports.https}`;
  const args = ['s_client', '-connect', address, '-servername', name, '-alpn', 'acme-tls/1', '-showcerts'];
  const { stdout, stderr } = await run('openssl', args);
  return `${stdout}${stderr}`;
}

/** One ordinary request on a connection of its own: the answer's status and the certificate that came with it. */
function visit(daemon: Daemon, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { servername: host, headers: { host }, rejectUnauthorized: false, agent: false as const };
    https
      .get(`https://127.0.0.1:${daemon.ports.https}/`, options, (response) => {
        const { subjectaltname } = (response.socket as TLSSocket).getPeerCertificate();
        response.resume().on('end', () => resolve(`${response.statusCode} ${subjectaltname}`));
      })
      .on('error', reject);
  });
}

test('http-01 is answered before redirects and sites, for tokens armed by another instance, and for nothing else', async () => {
  await using daemon = await startDaemon({ config: SITES });
  const solver = createHttp01(beside(daemon));
  await solver.arm(challenge(), AbortSignal.timeout(5_000));
  for (const host of ['app.example.com', 'old.example.com', 'nobody.example.com', '192.0.2.1', '[2001:db8::1]']) {
    const said = await ask(daemon, host, TOKEN);
    assert.match(said, /^HTTP\/1\.1 200 OK\r\n/, host);
    assert.match(said, /^Content-Type: text\/plain\r$/m);
    assert.match(said, new RegExp(`^Content-Length: ${TOKEN.length + 11}\r$`, 'm'));
    assert.ok(said.endsWith(`\r\n\r\n${TOKEN}.thumbprint`), said);
  }
  const asked = await ask(daemon, 'app.example.com', TOKEN, '--head');
  assert.match(asked, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(asked.endsWith('\r\n\r\n'));

  // Everything else is as without any challenge.
  assert.match(await ask(daemon, 'app.example.com', TOKEN, '-d', 'body'), /^HTTP\/1\.1 308 /);
  assert.match(await ask(daemon, 'app.example.com', `${TOKEN}x`), /^HTTP\/1\.1 308 /);
  assert.match(await ask(daemon, 'app.example.com', 'not%20a%20token'), /^HTTP\/1\.1 308 /);
  assert.match(await ask(daemon, 'nobody.example.com', `${TOKEN}x`), /^HTTP\/1\.1 404 /);
  await solver.disarm(challenge());
  await eventually(async () => (await ask(daemon, 'app.example.com', TOKEN)).startsWith('HTTP/1.1 308 '));
});

test('a real CA is shown control over names and an address by http-01 and by tls-alpn-01', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http, tlsPort: ports.https });
  await using daemon = await startDaemon({ config: SITES, ports });
  for (const create of [createHttp01, createTlsAlpn01]) {
    const options = beside(daemon);
    const solver = create(options);
    // One that is served, one that nobody has heard of.
    const names = ['app.example.com', 'new.example.com'];
    const { certificate, challenges } = await orderBy(pebble, solver, names);
    assert.ok(names.every((name) => certificate.checkHost(name) === name));
    assert.equal(challenges.length, 2);
    const address = await orderBy(pebble, solver, ['127.0.0.1'], 'ip');
    assert.equal(address.certificate.checkIP('127.0.0.1'), '127.0.0.1');
    assert.deepEqual(await options.storage.list(`challenges/${solver.type}`), [], 'nothing is left');
  }
  // The opposite: a CA that is shown nothing issues nothing.
  const silent = { ...createTlsAlpn01(beside(daemon)), arm: () => Promise.resolve() };
  await assert.rejects(orderBy(pebble, silent, ['app.example.com']));
});

test('while challenges are armed and asked for, no ordinary client sees them: three rounds', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http, tlsPort: ports.https });
  await using daemon = await startDaemon({ config: SITES, ports });
  const solver = createTlsAlpn01(beside(daemon));
  for (let round = 0; round < 3; round++) {
    const seen: string[] = [];
    const over = new AbortController();
    const clients = Array.from({ length: 4 }, async () => {
      while (!over.signal.aborted) seen.push(await visit(daemon, 'app.example.com'));
    });
    try {
      await eventually(() => seen.length >= 4);
      await orderBy(pebble, solver, ['app.example.com']);
    } finally {
      over.abort();
      await Promise.all(clients);
    }
    assert.deepEqual([...new Set(seen)], ['200 DNS:app.example.com']);
    assert.ok(seen.length > 8, `${seen.length} visits`);
  }
});

test('acme-tls/1 is refused with an alert where nothing is armed, and ends with its handshake where something is', async () => {
  await using daemon = await startDaemon({ config: SITES });
  for (const name of ['app.example.com', 'nobody.example.com']) {
    assert.match(await shownToCa(daemon, name), /alert no application protocol/i);
  }
  const solver = createTlsAlpn01(beside(daemon));
  const armed = challenge({ type: 'tls-alpn-01', identifier: { type: 'dns', value: 'late.example.com' } });
  await solver.arm(armed, AbortSignal.timeout(5_000));
  const shown = await shownToCa(daemon, 'late.example.com');
  assert.match(shown, /ACME challenge/);
  assert.match(shown, /ALPN protocol: acme-tls\/1/);
  await solver.disarm(armed);
  await eventually(async () => /alert no application protocol/i.test(await shownToCa(daemon, 'late.example.com')));
});

test('two daemons on one state folder both answer what a third armed', async () => {
  await using first = await startDaemon({ config: SITES });
  const folder = temporaryFolder();
  try {
    symlinkSync(path.join(first.folder, 'state'), path.join(folder, 'state'));
    await using second = await startDaemon({ config: SITES, folder });
    const solver = createHttp01(beside(first));
    await solver.arm(challenge(), AbortSignal.timeout(5_000));
    for (const daemon of [first, second]) {
      assert.match(await ask(daemon, 'app.example.com', TOKEN), /^HTTP\/1\.1 200 /);
    }
    const alpn = createTlsAlpn01(beside(second));
    await alpn.arm(challenge({ type: 'tls-alpn-01' }), AbortSignal.timeout(5_000));
    for (const daemon of [first, second]) assert.match(await shownToCa(daemon, 'app.example.com'), /ACME challenge/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('what a dead instance left is removed at the next start, when it has expired', async () => {
  const folder = temporaryFolder();
  try {
    mkdirSync(path.join(folder, 'state'), { mode: 0o700 });
    const storage = createFileStorage(path.join(folder, 'state'));
    await storage.write('challenges/http-01/old', JSON.stringify({ answer: 'x', expires: Date.now() - 1 }));
    await storage.write('challenges/http-01/young', JSON.stringify({ answer: 'x', expires: Date.now() + 600_000 }));
    await using _daemon = await startDaemon({ config: SITES, folder });
    await eventually(async () => (await storage.list('challenges/http-01')).join() === 'young');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
