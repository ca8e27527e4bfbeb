/** WebSockets to upstreams somebody else runs: over TLS as over plain TCP, never over a connection many requests share. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import type tls from 'node:tls';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';
import { createSelfSigned } from './support/self_signed.ts';
import type { CertificateFiles } from './support/self_signed.ts';

const HEAD =
  'Host: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';

const folder = temporaryFolder();
const servers: Server[] = [];
let daemon: Daemon;
/** Two that will show another certificate than at first. */
const changing: Record<string, { readonly server: https.Server; readonly later: CertificateFiles; upgrades: number }> =
  {};
/** Of each connection that became a WebSocket over TLS. */
const seen: { readonly name: unknown; readonly protocol: unknown; readonly host: string | undefined }[] = [];

const read = ({ key, certificate }: CertificateFiles): { readonly key: Buffer; readonly cert: Buffer } => ({
  key: readFileSync(key),
  cert: readFileSync(certificate),
});

/** Answers requests with `ok`, echoes over WebSockets, and bytes on `/raw`. */
function echoing<S extends http.Server | https.Server>(server: S): S {
  const sockets = new WebSocketServer({ noServer: true });
  server.on('request', (_request: http.IncomingMessage, response: http.ServerResponse) => void response.end('ok'));
  server.on('upgrade', (request, socket, head) => {
    const { servername, alpnProtocol } = socket as tls.TLSSocket;
    seen.push({ name: servername, protocol: alpnProtocol, host: request.headers.host });
    socket.on('error', () => {});
    if (request.url !== '/raw') {
      return sockets.handleUpgrade(request, socket, head, (client) => {
        client.on('message', (data, binary) => client.send(data, { binary }));
      });
    }
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.on('data', (chunk: Buffer) => socket.write(chunk));
    socket.on('end', () => socket.end('goodbye'));
    return undefined;
  });
  return server;
}

async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

before(async () => {
  const good = await createSelfSigned(folder, 'inner.example');
  const stranger = await createSelfSigned(folder, 'inner.example', 'stranger');
  const misnamed = await createSelfSigned(folder, 'other.example');
  const secure = await listen(echoing(https.createServer(read(good))));
  for (const [name, later] of Object.entries({ stranger, misnamed })) {
    const server = echoing(https.createServer(read(good)));
    changing[name] = { server, later, upgrades: 0 };
    server.on('upgrade', () => changing[name]!.upgrades++);
  }
  const plain = await listen(echoing(http.createServer()));
  const h2c = await listen(http2.createServer((_request, response) => response.end('ok')));
  const h2 = await listen(http2.createSecureServer(read(good), (_request, response) => response.end('ok')));
  const trusted = `tls: { trusted_roots: [${good.certificate}, ${misnamed.certificate}], server_name: inner.example }`;
  const names = ['secure', 'stranger', 'misnamed', 'h2', 'h2c', 'mixed'];
  daemon = await startDaemon({
    config: `proxy_processes: 1
sites:
  - hosts: [localhost]
    routes:
${names.map((name) => `      - { path: /${name}/, service: ${name}, strip_prefix: true }\n`).join('')}services:
  secure: { upstreams: ["https://127.0.0.1:${secure}"], ${trusted} }
  stranger: { upstreams: ["https://127.0.0.1:${await listen(changing['stranger']!.server)}"], ${trusted}, health_check: { interval: 1h }, queue: { timeout: 100ms } }
  misnamed: { upstreams: ["https://127.0.0.1:${await listen(changing['misnamed']!.server)}"], ${trusted}, health_check: { interval: 1h }, queue: { timeout: 100ms } }
  h2: { upstreams: ["h2://127.0.0.1:${h2}"], ${trusted} }
  h2c: { upstreams: ["h2c://127.0.0.1:${h2c}"] }
  mixed: { upstreams: ["h2c://127.0.0.1:${h2c}", "http://127.0.0.1:${plain}"] }
`,
  });
  await eventually(() => daemon.events('upstream_healthy').length === names.length + 1);
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

const status = async (target: string): Promise<string> =>
  (await run('curl', ['-sk', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}${target}`])).stdout;

async function echo(target: string, message: Buffer): Promise<Buffer> {
  const socket = new WebSocket(`${daemon.origin.replace('https', 'wss')}${target}`, { rejectUnauthorized: false });
  await once(socket, 'open');
  const answer = once(socket, 'message') as Promise<[Buffer]>;
  socket.send(message);
  const [data] = await answer;
  const closed = once(socket, 'close') as Promise<[number]>;
  socket.close(4001);
  assert.equal((await closed)[0], 4001);
  return data;
}

test('an https upstream gets WebSockets on connections of their own, by the name it must prove', async () => {
  const message = Buffer.alloc(3_000_000, 'x');
  assert.ok(message.equals(await echo('/secure/chat?room=1', message)));
  assert.deepEqual(seen.at(-1), {
    name: 'inner.example',
    protocol: 'http/1.1',
    host: `localhost:${daemon.ports.https}`,
  });
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/secure/chat?room=1'));
  assert.equal(line['status'], 101);
  for (const key of ['bytes_in', 'bytes_out']) {
    assert.ok(Number(line[key]) > 3_000_000 && Number(line[key]) < 3_000_500, `${key} ${String(line[key])}`);
  }
});

test('one side of such a WebSocket may say all it has and still listen', async () => {
  using client = await connectRaw(daemon);
  client.socket.allowHalfOpen = true;
  client.send(`GET /secure/raw HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\nearly `);
  await client.until(/early /);
  client.send('last words');
  client.socket.end();
  assert.match(await client.until(/goodbye/), /early last wordsgoodbye$/);
});

test('an upstream that no longer proves its name gets no WebSocket', async () => {
  for (const [name, { server, later }] of Object.entries(changing)) {
    await echo(`/${name}/chat`, Buffer.from('x'));
    const before = changing[name]!.upgrades;
    server.setSecureContext(read(later));
    using client = await connectRaw(daemon);
    client.send(`GET /${name}/raw HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\n`);
    assert.match(await client.until(/\r\n\r\n/), /^HTTP\/1\.1 50[23] /, name);
    assert.equal(changing[name]!.upgrades, before, name);
  }
});

test('an upstream of h2 or h2c gets none, and the client is told why', async () => {
  for (const name of ['h2', 'h2c']) {
    assert.equal(await status(`/${name}/x`), '200', name);
    using client = await connectRaw(daemon);
    client.send(`GET /${name}/x HTTP/1.1\r\n${HEAD}Upgrade: websocket\r\n\r\n`);
    assert.match(await client.until(/change its protocol/), /^HTTP\/1\.1 501 /, name);
    // The connection goes on, and nothing else is refused.
    client.send('GET /h2c/y HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await client.until(/HTTP\/1\.1 200 /);
  }
});

test('of several upstreams the one that can is asked', async () => {
  for (let i = 0; i < 6; i++) assert.equal((await echo('/mixed/chat', Buffer.from(`${i}`))).toString(), String(i));
});
