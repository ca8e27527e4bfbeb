/** WebSockets through the proxy: the ws package and Node's own client on one side, ws in the worker on the other. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { sleep } from '../src/lifecycle.ts';
import { FIXTURES, startDaemon, writeConfig } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { residentBytes } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';

const CONFIG = `proxy_processes: 1
sites:
  - hosts: [localhost]
    routes:
      - { path: /closed/, service: web, upgrade: false }
      - { path: /relay/, service: web, strip_prefix: true, upgrade: [Tcp-Relay, websocket] }
      - { path: /only/, service: web, strip_prefix: true, upgrade: [tcp-relay] }
      - { path: /, service: web }
services:
  web:
    command: [node, websocket_worker.mjs, "{socket}"]
    directory: ${FIXTURES}
    workers: 2
    timeouts: { response: 1s }
`;
const HEAD =
  'Host: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({ config: CONFIG, entrypoint: 'timeouts: { tunnel_idle: 3s }' });
});
after(() => daemon[Symbol.asyncDispose]());

interface Opened extends Disposable {
  readonly socket: WebSocket;
  readonly greeting: { readonly url: string; readonly headers: Readonly<Record<string, string>> };
  ask(text: string): Promise<string>;
}

async function open(to: Daemon, target: string): Promise<Opened> {
  const socket = new WebSocket(`${to.origin.replace('https', 'wss')}${target}`, { rejectUnauthorized: false });
  const [data] = (await once(socket, 'message')) as [Buffer];
  return {
    socket,
    greeting: JSON.parse(data.toString()) as Opened['greeting'],
    ask: async (text) => {
      const answer = once(socket, 'message') as Promise<[Buffer]>;
      socket.send(text);
      return (await answer)[0].toString();
    },
    [Symbol.dispose]: () => socket.terminate(),
  };
}

test('a WebSocket is opened, told of its client, and carries messages of any size both ways', async () => {
  using client = await open(daemon, '/chat?room=1');
  assert.equal(client.greeting.url, '/chat?room=1');
  assert.equal(client.greeting.headers['x-forwarded-for'], '127.0.0.1');
  assert.equal(client.greeting.headers['x-forwarded-proto'], 'https');
  assert.equal(client.greeting.headers['host'], `localhost:${daemon.ports.https}`);
  assert.equal(await client.ask('hello'), 'hello');
  const large = 'x'.repeat(3_000_000);
  assert.equal((await client.ask(large)).length, large.length);
});

test('its end is logged, with what it carried', async () => {
  const client = await open(daemon, '/logged');
  await client.ask('y'.repeat(10_000));
  assert.equal(daemon.events('access').filter(({ target }) => target === '/logged').length, 0, 'not before its end');
  client.socket.close();
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/logged'));
  assert.equal(line['status'], 101);
  assert.ok(Number(line['bytes_in']) > 10_000 && Number(line['bytes_in']) < 11_000, String(line['bytes_in']));
  assert.ok(Number(line['bytes_out']) > 10_000 && Number(line['bytes_out']) < 13_000, String(line['bytes_out']));
  assert.match(String(line['worker']), /^web\//);
});

test('bytes sent behind the request, before any answer, reach the worker', async () => {
  using client = await connectRaw(daemon);
  client.send(`GET /raw HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\noptimistic`);
  assert.match(await client.until(/optimistic/), /^HTTP\/1\.1 101 [^]*\r\n\r\noptimistic$/);
});

test('one side may say all it has and still listen', async () => {
  for (const plain of [false, true]) {
    await using own = plain
      ? await startDaemon({ config: CONFIG.replace('[localhost]', '[localhost]\n    redirect_https: false') })
      : null;
    using client = await connectRaw(own ?? daemon, { plain });
    client.socket.allowHalfOpen = true;
    client.send(`GET /raw HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\n`);
    await client.until(/\r\n\r\n/);
    client.send('last words');
    client.socket.end();
    assert.match(await client.until(/goodbye/), /last wordsgoodbye$/);
  }
});

test('a refusal by the worker reaches the client', async () => {
  using client = await connectRaw(daemon);
  client.send(`GET /refuse HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\n`);
  assert.match(await client.closed(), /^HTTP\/1\.1 403 Forbidden\r\n[^]*no$/);
});

test('a worker that drops it, switches to something else or says nothing is a bad gateway', async () => {
  for (const [target, status] of [
    ['/drop', 502],
    ['/other', 502],
    ['/silent', 504],
  ] as const) {
    using client = await connectRaw(daemon);
    client.send(`GET ${target} HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\n`);
    const text = await client.closed();
    assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), target);
    assert.doesNotMatch(text, /101/);
  }
});

test('any other upgrade, and one where the route allows none, is an ordinary request', async () => {
  for (const [target, upgrade] of [
    ['/x', 'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'],
    ['/x', 'Upgrade: websocket, h2c\r\n'],
    ['/x', 'Upgrade: TLS/1.0\r\n'],
    ['/closed/x', 'Upgrade: websocket\r\n'],
    ['/x', 'Upgrade: tcp-relay\r\n'],
    ['/only/x', 'Upgrade: websocket\r\n'],
    ['/relay/x', 'Upgrade: tcp-relay, websocket\r\n'],
    ['/relay/x', 'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'],
  ] as const) {
    using client = await connectRaw(daemon);
    client.send(`GET ${target} HTTP/1.1\r\n${HEAD}${upgrade}\r\n`);
    const text = await client.until(/\}$/);
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.doesNotMatch(text, /"upgrade"|"http2-settings"|"connection":"upgrade/i, upgrade);
  }
});

test('a protocol its route names is carried like a WebSocket, and written to the worker as the route writes it', async () => {
  using client = await connectRaw(daemon);
  client.socket.allowHalfOpen = true;
  client.send(`GET /relay/raw?named HTTP/1.1\r\n${HEAD}Upgrade: TCP-relay\r\n\r\nfirst`);
  assert.match(await client.until(/first/), /^HTTP\/1\.1 101 [^]*\r\nupgrade: Tcp-Relay\r\n[^]*\r\n\r\nfirst$/i);
  client.send('z'.repeat(1_000_000));
  await eventually(() => client.received().length > 1_000_000);
  client.socket.end();
  await client.until(/goodbye$/);
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/relay/raw?named'));
  // The lower bound is what was carried; the worker's head is no part of it.
  assert.deepEqual([line['status'], line['bytes_in'], line['bytes_out']], [101, 1_000_005, 1_000_012]);
  using both = await open(daemon, '/relay/chat');
  assert.equal(await both.ask('hello'), 'hello');
});

test('a worker that switches to another protocol than was asked for is a bad gateway', async () => {
  using client = await connectRaw(daemon);
  client.send(`GET /relay/other HTTP/1.1\r\n${HEAD}Upgrade: tcp-relay\r\n\r\n`);
  const text = await client.closed();
  assert.match(text, /^HTTP\/1\.1 502 /);
  assert.doesNotMatch(text, /101|something-else/);
});

test('a tunnel without a byte for its time is ended', async () => {
  const client = await open(daemon, '/idle');
  await once(client.socket, 'close');
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/idle'));
  assert.ok(Number(line['duration_ms']) >= 2_500, String(line['duration_ms']));
});

test('a client that takes nothing holds up its worker, not our memory', async () => {
  const [proxy] = (await daemon.status()).proxies;
  const before = residentBytes(proxy?.pid ?? 0);
  using client = await connectRaw(daemon);
  client.send(`GET /flood HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\n`);
  await client.until(/101/);
  client.socket.pause();
  await sleep(1_000);
  assert.ok(residentBytes(proxy?.pid ?? 0) - before < 32 * 1024 * 1024);
});

test('a reload leaves an open tunnel alone, and the end of the proxy does not wait for it for ever', async () => {
  await using own = await startDaemon({ config: `${CONFIG}shutdown: { grace_period: 2s }\n` });
  using client = await open(own, '/kept');
  writeConfig(
    own.folder,
    own.ports,
    `${CONFIG}shutdown: { grace_period: 1s }\n`.replace('[localhost]', '[localhost, more.localhost]'),
  );
  const { code, stderr } = await own.verb('reload');
  assert.equal(code, 0, stderr);
  assert.equal(await client.ask('still here'), 'still here');
  const closed = once(client.socket, 'close');
  own.child.kill('SIGTERM');
  await closed;
  assert.equal(await own.exited, 0);
});
