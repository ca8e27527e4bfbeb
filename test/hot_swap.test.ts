/** A certificate changes under traffic: nobody notices who was connected, and nobody fails who connects. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import https from 'node:https';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { WebSocket } from 'ws';
import { FIXTURES, freePort, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { inLanes } from './support/lanes.ts';
import { startPebble } from './support/pebble.ts';
import type { Pebble } from './support/pebble.ts';

const HOST = 'app.example.com';
const WEBSOCKETS = 500;

function config(pebble: Pebble): string {
  return `proxy_processes: 2
acme:
  email: ops@example.com
  agree_tos: true
  issuers: [{ ca: "${pebble.directoryUrl}", trusted_roots: [${pebble.trustedRoot}] }]
sites: [{ hosts: [${HOST}], service: web }]
services:
  web:
    command: [node, websocket_worker.mjs, "{socket}"]
    directory: ${FIXTURES}
`;
}

interface Visit {
  readonly status: number | undefined;
  /** Of the certificate; a resumed session has the one it began with. */
  readonly serial: string;
  readonly resumed: boolean;
  readonly session: Buffer | undefined;
}

/** One request on a connection of its own, resuming `session` if there is one. */
function visit(daemon: Daemon, maxVersion: 'TLSv1.2' | 'TLSv1.3', session?: Buffer): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const request = https.get(`https://127.0.0.1:${daemon.ports.https}/`, {
      servername: HOST,
      headers: { host: HOST },
      rejectUnauthorized: false,
      agent: false,
      maxVersion,
      ...(session === undefined ? {} : { session }),
    });
    let given: Buffer | undefined;
    request.on('socket', (socket) => socket.on('session', (next: Buffer) => (given = next)));
    request.on('error', reject);
    request.on('response', (response) => {
      const socket = response.socket as TLSSocket;
      const { serialNumber = '' } = socket.getPeerCertificate() as { serialNumber?: string };
      const resumed = socket.isSessionReused();
      response.resume().on('end', () => {
        resolve({ status: response.statusCode, serial: serialNumber, resumed, session: given });
      });
    });
  });
}

async function openWebSocket(daemon: Daemon): Promise<WebSocket> {
  const options = { rejectUnauthorized: false, servername: HOST, headers: { host: HOST } };
  const socket = new WebSocket(`wss://127.0.0.1:${daemon.ports.https}/`, options);
  await once(socket, 'message');
  return socket;
}

test('three renewals under load: no request fails, sessions resume as before, open WebSockets carry on', async () => {
  const ports = { http: await freePort(), https: await freePort() };
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config(pebble), ports });
  await eventually(() => visit(daemon, 'TLSv1.3'));
  const sockets: WebSocket[] = [];
  await inLanes(Array.from({ length: WEBSOCKETS }), 20, async () => void sockets.push(await openWebSocket(daemon)));
  let closed = 0;
  for (const socket of sockets) socket.on('close', () => closed++);

  const serials = [(await visit(daemon, 'TLSv1.3')).serial];
  const first = await visit(daemon, 'TLSv1.3');
  const over = new AbortController();
  const seen: (Visit & { readonly offered: boolean })[] = [];
  const lanes = (['TLSv1.2', 'TLSv1.3', 'TLSv1.2', 'TLSv1.3'] as const).map(async (version) => {
    // In turns: a full handshake, and two that resume.
    for (let i = 0, session: Buffer | undefined; !over.signal.aborted; i++) {
      const offered = i % 3 === 0 ? undefined : session;
      const next = await visit(daemon, version, offered);
      seen.push({ ...next, offered: offered !== undefined });
      ({ session } = next.session === undefined ? { session } : next);
    }
  });
  try {
    for (let i = 0; i < 3; i++) {
      const before = seen.length;
      await eventually(() => seen.length >= before + 12);
      const renewed = await daemon.verb('renew', '--force');
      assert.equal(renewed.code, 0, renewed.stdout + renewed.stderr);
      // From here on no handshake shows the old one, on either proxy.
      const shown = await Promise.all(Array.from({ length: 8 }, () => visit(daemon, 'TLSv1.3')));
      assert.equal(new Set(shown.map(({ serial }) => serial)).size, 1);
      serials.push(shown[0]?.serial ?? '');
    }
  } finally {
    over.abort();
    await Promise.all(lanes);
  }
  assert.equal(new Set(serials).size, 4);
  assert.deepEqual([...new Set(seen.map(({ status }) => status))], [200], `${seen.length} requests`);
  const offers = seen.filter(({ offered }) => offered);
  assert.ok(offers.length >= 12, `${offers.length} sessions offered`);
  assert.equal(offers.filter(({ resumed }) => !resumed).length, 0, `of ${offers.length} sessions`);
  // A ticket of the certificate before the last three.
  assert.ok(first.session !== undefined);
  assert.ok((await visit(daemon, 'TLSv1.3', first.session)).resumed);

  assert.equal(closed, 0);
  await inLanes(sockets, 50, async (socket) => {
    const answer = once(socket, 'message') as Promise<[Buffer]>;
    socket.send('still here');
    assert.equal(String((await answer)[0]), 'still here');
    socket.terminate();
  });
});
