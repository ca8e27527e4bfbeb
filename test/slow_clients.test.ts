/** Clients that take their time: each gets a bound, the right answer where one is due, and nobody else waits. */
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import {
  connectFrames,
  frame,
  headers,
  INITIAL_WINDOW_SIZE,
  requestFields,
  SETTINGS,
  uint32,
  WINDOW_UPDATE,
} from './support/frames.ts';
import type { FrameClient } from './support/frames.ts';
import { openFiles } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';
import type { RawClient } from './support/raw.ts';

const LIMITS = 'max_connections: 20, timeouts: { headers: 1s, idle: 1s, body_idle: 1s, write_idle: 1s }';

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]\nproxy_processes: 1${RECORDING_SERVICE}`,
    entrypoint: LIMITS,
  });
});
after(() => daemon[Symbol.asyncDispose]());

const HEAD = 'Host: localhost\r\n';

test('a head that does not come whole is answered with 408', async () => {
  using client = await connectRaw(daemon);
  client.send(`GET / HTTP/1.1\r\n${HEAD}`);
  assert.match(await client.closed(), /^HTTP\/1\.1 408 /);
});

test('a head that comes in drops has no more time than one that does not', async () => {
  using client = await connectRaw(daemon);
  client.send(`GET / HTTP/1.1\r\n${HEAD}`);
  const drops = setInterval(() => client.send('A: b\r\n'), 100);
  try {
    assert.match(await client.closed(), /^HTTP\/1\.1 408 /);
  } finally {
    clearInterval(drops);
  }
});

test('a body that stops coming is answered with 408', async () => {
  using client = await connectRaw(daemon);
  client.send(`POST /echo HTTP/1.1\r\n${HEAD}Content-Length: 10\r\n\r\nhalf`);
  assert.match(await client.closed(), /^HTTP\/1\.1 408 /);
});

test('a connection that says nothing, or nothing more, is closed without a word', async () => {
  using silent = await connectRaw(daemon);
  assert.equal(await silent.closed(), '');
  using idle = await connectRaw(daemon);
  idle.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
  const text = await idle.closed();
  assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1);
});

/** Reads on after a pause, and tells how the connection ended. */
async function ending(socket: net.Socket): Promise<string> {
  const ended = new Promise<string>((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    socket.once('end', () => resolve('in order'));
  });
  socket.resume();
  return ended;
}

test('a client that does not take its answer is let go, its worker too, and what is unsent is not kept for it', async () => {
  using client = await connectRaw(daemon);
  client.socket.pause();
  client.send(`GET /bytes?size=100000000 HTTP/1.1\r\n${HEAD}\r\n`);
  await eventually(() => daemon.events('access').some((line) => line['target'] === '/bytes?size=100000000'));
  assert.equal(await ending(client.socket), 'ECONNRESET');
});

test('so is one that speaks HTTP/2', async () => {
  using client = await connectFrames(daemon);
  client.socket.pause();
  const wide = uint32(2 ** 30);
  client.send(frame(SETTINGS, 0, 0, Buffer.concat([INITIAL_WINDOW_SIZE, wide])), frame(WINDOW_UPDATE, 0, 0, wide));
  client.send(headers(1, requestFields(daemon, '/bytes?size=100000001')));
  await eventually(() => daemon.events('access').some((line) => line['target'] === '/bytes?size=100000001'));
  assert.equal(await ending(client.socket), 'ECONNRESET');
});

test('one that opens its window no further too, and with it the rest of its connection', async () => {
  using client = await connectFrames(daemon);
  client.send(headers(1, requestFields(daemon, '/bytes?size=100000002')));
  await client.closed();
});

test('an HTTP/2 connection that says no more, and does not even close, is closed', async () => {
  const [pid] = (await daemon.status()).proxies.flatMap((proxy) => proxy.pid ?? []);
  assert.ok(pid !== undefined);
  const before = openFiles(pid);
  const open: FrameClient[] = [];
  try {
    while (open.length < 10) open.push(await connectFrames(daemon));
    // What it does not read it does not know of.
    for (const { socket } of open) socket.pause();
    assert.ok(openFiles(pid) >= before + 5);
    await eventually(() => openFiles(pid) < before + 5);
  } finally {
    for (const client of open) client[Symbol.dispose]();
  }
});

test('a slow answer is no slow client', async () => {
  using client = await connectRaw(daemon);
  client.send(`GET /slow?ms=2500 HTTP/1.1\r\n${HEAD}\r\n`);
  assert.match(await client.until(/slow undefined/), /^HTTP\/1\.1 200 /);
});

test('takes no more connections than it is told to, and takes new ones when old ones go', async () => {
  const open: RawClient[] = [];
  try {
    while (open.length < 20) open.push(await connectRaw(daemon));
    const refused = net.connect({ port: daemon.ports.https, host: '127.0.0.1' });
    await new Promise((resolve) => refused.once('close', resolve).once('error', () => {}));
  } finally {
    for (const client of open) client[Symbol.dispose]();
  }
  await eventually(async () => {
    using client = await connectRaw(daemon);
    client.send(`GET / HTTP/1.1\r\n${HEAD}\r\n`);
    return (await client.until(/\r\n\r\n/, 500)).startsWith('HTTP/1.1 200 ');
  });
});
