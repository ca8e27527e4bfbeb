/** How connections end: what was asked is answered whole, what is new is turned away. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import tls from 'node:tls';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { drainConfig, drainUnderLoad } from './support/drain.ts';
import { eventually } from './support/eventually.ts';
import { connectRaw } from './support/raw.ts';
import { sleep } from '../src/lifecycle.ts';

const SITE = `sites: [{ hosts: [localhost], service: web }]\nproxy_processes: 1${RECORDING_SERVICE}`;

test('TERM cuts nothing that fits the grace period, says GOAWAY, takes nothing new and ends in time', async () => {
  const graceMs = 3_000;
  await using daemon = await startDaemon({ config: drainConfig(graceMs) });
  const outcome = await drainUnderLoad(daemon, {
    http1: 15,
    http2: 15,
    sessions: 3,
    longestMs: 1_500,
    downloadBytes: 8 * 1024 * 1024,
    downloadMs: 1_500,
  });
  assert.deepEqual(outcome.problems, []);
  assert.ok(outcome.inFlight > 20, String(outcome.inFlight));
  assert.equal(outcome.goaways, 3);
  assert.ok(outcome.echoes > 0);
  const hows = [...outcome.newcomers.keys()];
  assert.deepEqual(
    hows.filter((how) => how !== 'refused' && how !== 'answered'),
    [],
  );
  assert.ok(hows.includes('refused'));
  assert.equal(outcome.exitCode, 0);
  assert.ok(outcome.exitedAfterMs <= graceMs + 1_000, String(outcome.exitedAfterMs));
});

test('a request on a connection opened just before TERM is answered', async () => {
  await using daemon = await startDaemon({ config: SITE });
  // Somebody the end waits for.
  using other = await connectRaw(daemon);
  other.send('GET /slow?ms=1200 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  using client = await connectRaw(daemon);
  daemon.child.kill('SIGTERM');
  await eventually(() => daemon.events('stopping').length === 1);
  await sleep(200);
  client.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const text = await client.closed();
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(text, /^Connection: close\r$/m);
  assert.match(await other.closed(), /slow/);
  assert.equal(await daemon.exited, 0);
});

test('a client that reads the end of its answer late gets all of it, whatever ends the connection', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const capacity = await kernelBuffers(daemon);
  // With a body a little larger than that, its end waits in the proxy while the worker is done with it.
  const sizes = Array.from({ length: 10 }, (_, i) => Math.round(capacity + (i + 2) * 35_000));
  const closing = Promise.all(sizes.map((size) => readLate(daemon, size, 'Connection: close\r\n', 3_500)));
  const lasting = Promise.all(sizes.map((size) => readLate(daemon, size, '', 3_500)));
  await sleep(2_500);
  daemon.child.kill('SIGTERM');
  for (const bodies of [await closing, await lasting]) assert.deepEqual(bodies, sizes);
  assert.equal(await daemon.exited, 0);
});

/** The length of the body that came, of a client that reads nothing for a while. */
async function readLate(daemon: Daemon, size: number, fields: string, afterMs: number): Promise<number> {
  const socket = await askUnread(daemon, size, fields);
  await sleep(afterMs);
  let [received, head] = [0, ''];
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (!head.includes('\r\n\r\n')) head += chunk.toString('latin1');
  });
  const end = Promise.race([once(socket, 'end'), once(socket, 'close')]);
  socket.resume();
  await end;
  socket.destroy();
  return received - (head.indexOf('\r\n\r\n') + 4);
}

async function askUnread(daemon: Daemon, size: number, fields: string): Promise<tls.TLSSocket> {
  const { https: port } = daemon.ports;
  const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write(`GET /bytes?size=${size} HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n`);
  socket.pause();
  return socket;
}

/** As much as the kernel takes of an answer that nobody reads. */
async function kernelBuffers(daemon: Daemon): Promise<number> {
  const socket = await askUnread(daemon, 64 * 1024 * 1024, '');
  const port = `:${daemon.ports.https.toString(16).toUpperCase().padStart(4, '0')}`;
  let before = 0;
  const bytes = await eventually(
    () => {
      const lines = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => readFileSync(file, 'utf8').split('\n'));
      let now = 0;
      for (const line of lines) {
        // Columns: local and remote address, state (01: established), what is queued out and in.
        const [, local = '', remote = '', state, queues = ':'] = line.trim().split(/\s+/);
        if (state !== '01') continue;
        if (local.endsWith(port)) now += Number.parseInt(queues.split(':')[0] ?? '0', 16);
        else if (remote.endsWith(port)) now += Number.parseInt(queues.split(':')[1] ?? '0', 16);
      }
      const settled = now > 0 && now === before;
      before = now;
      return settled && now;
    },
    { everyMs: 200 },
  );
  socket.destroy();
  return bytes;
}
