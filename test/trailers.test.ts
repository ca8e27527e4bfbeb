/** Fields behind a body: between HTTP/2 and HTTP/1.1 both ways, checked, and for nobody who does not want them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { after, before, test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { connectFrames, DATA, END_STREAM, frame, headers, requestFields, RST_STREAM } from './support/frames.ts';
import type { Fields } from './support/frames.ts';
import { connectRaw } from './support/raw.ts';
import { answerOk, startRawUpstream } from './support/raw_upstream.ts';
import type { RawUpstream, Received } from './support/raw_upstream.ts';

let upstream: RawUpstream;
let daemon: Daemon;
before(async () => {
  upstream = await startRawUpstream(answer);
  daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]
services:
  web: { upstreams: ["http://127.0.0.1:${upstream.port}"], health_check: { interval: 1h } }
`,
  });
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** What is asked for `/trailers` has those of the query behind its answer. */
function answer(received: Received): void {
  const { message, connection } = received;
  const [path, query = ''] = message.target.split('?');
  if (path !== '/trailers') return answerOk(received);
  const { announce = '', lines = '' } = Object.fromEntries(new URLSearchParams(query));
  connection.socket.write(
    `HTTP/1.1 200 OK\r\n${announce === '' ? '' : `Trailer: ${announce}\r\n`}Transfer-Encoding: chunked\r\n\r\n` +
      `5\r\nhello\r\n0\r\n${lines}\r\n`,
  );
}

function trailersPath(lines: string, announce = ''): string {
  return `/trailers?${new URLSearchParams({ lines, announce }).toString()}`;
}

async function connect(): Promise<ClientHttp2Session & Disposable> {
  const session = http2.connect(daemon.origin, { rejectUnauthorized: false });
  session.on('error', () => {});
  await once(session, 'connect');
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}

interface Answered {
  readonly body: string;
  readonly trailers: IncomingHttpHeaders | null;
}

async function get(session: ClientHttp2Session, path: string, fields: Record<string, string> = {}): Promise<Answered> {
  const stream = session.request({ ':path': path, ...fields });
  let trailers: IncomingHttpHeaders | null = null;
  // Not the symbol that node:http2 adds.
  stream.on('trailers', (received: IncomingHttpHeaders) => (trailers = Object.fromEntries(Object.entries(received))));
  let body = '';
  for await (const chunk of stream) body += String(chunk);
  return { body, trailers };
}

function receivedAt(target: string): readonly Received[] {
  return upstream.received.filter(({ message }) => message.target === target);
}

/** Sends a POST in DATA frames with trailers behind; true when the stream was reset. */
async function post(path: string, trailers: Fields, more: Fields = []): Promise<boolean> {
  using client = await connectFrames(daemon);
  const fields = requestFields(daemon, path, { method: 'POST', more });
  client.send(headers(1, fields, 0), frame(DATA, 0, 1, 'hello'), headers(1, trailers));
  const { type } = await client.until(
    ({ type, flags, stream }) => stream === 1 && (type === RST_STREAM || (flags & END_STREAM) !== 0),
  );
  return type === RST_STREAM;
}

test("an HTTP/2 client's trailers are the trailer section of a chunked body (RFC 9112 section 7.1.2)", async () => {
  assert.equal(
    await post('/up', [
      ['x-checksum', 'abc'],
      ['x-second', ''],
    ]),
    false,
  );
  const [received, ...others] = receivedAt('/up');
  assert.deepEqual(others, []);
  assert.ok(received?.message.raw.endsWith('5\r\nhello\r\n0\r\nx-checksum: abc\r\nx-second: \r\n\r\n'));
});

test('so are those of many requests at once', async () => {
  using client = await connectFrames(daemon);
  const streams = Array.from({ length: 60 }, (_, i) => 2 * i + 1);
  client.send(
    ...streams.flatMap((stream) => [
      headers(stream, requestFields(daemon, `/many/${stream}`, { method: 'POST' }), 0),
      frame(DATA, 0, stream, 'hello'),
      headers(stream, [['x-checksum', String(stream)]]),
    ]),
  );
  await eventually(() => streams.every((stream) => receivedAt(`/many/${stream}`).length === 1));
  for (const stream of streams) {
    const [received] = receivedAt(`/many/${stream}`);
    assert.ok(received?.message.raw.endsWith(`5\r\nhello\r\n0\r\nx-checksum: ${stream}\r\n\r\n`));
  }
});

test('behind a body with a length trailers have no place, and are dropped', async () => {
  assert.equal(await post('/sized', [['x-checksum', 'abc']], [['content-length', '5']]), false);
  assert.ok(receivedAt('/sized')[0]?.message.raw.endsWith('\r\nContent-Length: 5\r\n\r\nhello'));
});

test('what belongs to the head is dropped when it comes behind the body (RFC 9110 section 6.5.1)', async () => {
  const forbidden = [
    ['authorization', 'cookie', 'x-forwarded-for', 'forwarded', 'x-real-ip', 'x-request-id', 'content-type'],
    ['content-encoding', 'content-range', 'cache-control', 'expect', 'range', 'if-match', 'max-forwards', 'via'],
    ['x_underscore', 'x.dot', 'proxy', 'proxy-authorization', 'trailer', 'x-http-method-override'],
  ].flat();
  const trailers: Fields = [...forbidden.map((name) => [name, 'forged'] as const), ['content-digest', 'sha-256=:x:']];
  assert.equal(await post('/dropped', trailers), false);
  assert.ok(receivedAt('/dropped')[0]?.message.raw.endsWith('5\r\nhello\r\n0\r\ncontent-digest: sha-256=:x:\r\n\r\n'));
});

test('trailers that frame or route the message end it (RFC 9113 sections 8.1 and 8.2.2)', async () => {
  const malformed: readonly Fields[] = [
    [['content-length', '5']],
    [['transfer-encoding', 'chunked']],
    [['connection', 'close']],
    [['upgrade', 'h2c']],
    [['host', 'other.example']],
    [['te', 'trailers']],
    [[':path', '/other']],
    [[':status', '200']],
    [['X-Upper', 'a']],
    [['x-large', 'a'.repeat(9_000)]],
  ];
  for (const [i, trailers] of malformed.entries()) {
    const path = `/malformed/${i}`;
    await post(path, trailers);
    assert.deepEqual(receivedAt(path), [], JSON.stringify(trailers).slice(0, 100));
  }
  assert.equal(await post('/after', [['x-a', 'b']]), false);
});

test("a worker's trailers reach an HTTP/2 client that takes them, or that hears of them", async () => {
  using session = await connect();
  const lines = 'X-Checksum: abc\r\nX-List: a\r\nX-List: b\r\nX-Empty:\r\n';
  const asked = await get(session, trailersPath(lines), { te: 'trailers' });
  assert.equal(asked.body, 'hello');
  assert.deepEqual(asked.trailers, { 'x-checksum': 'abc', 'x-list': 'a, b', 'x-empty': '' });
  const announced = await get(session, trailersPath(lines, 'X-Checksum'));
  assert.equal(announced.trailers?.['x-checksum'], 'abc');
  assert.deepEqual(await get(session, trailersPath(lines)), { body: 'hello', trailers: null });
});

test("a worker's trailers that belong to the head reach nobody", async () => {
  using session = await connect();
  const lines = 'Set-Cookie: a=b\r\nX-A: b\r\nLocation: /\r\nContent-Encoding: gzip\r\nConnection: close\r\n';
  const { trailers } = await get(session, trailersPath(lines), { te: 'trailers' });
  assert.deepEqual(trailers, { 'x-a': 'b' });
  using raw = await connectRaw(daemon);
  raw.send(`GET ${trailersPath(lines)} HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\n\r\n`);
  assert.match(await raw.until(/\r\n\r\n5\r\nhello\r\n0\r\n[^]*\r\n\r\n$/), /\r\n0\r\nX-A: b\r\n\r\n$/);
});

test("an HTTP/1.1 client gets a worker's trailers when it says that it takes them (RFC 9110 section 10.1.4)", async () => {
  using raw = await connectRaw(daemon);
  for (const [te, wanted] of [
    ['', ''],
    ['TE: gzip;q=0.5\r\n', ''],
    ['TE: trailers\r\n', 'X-Checksum: abc\r\n'],
    ['TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n', 'X-Checksum: abc\r\n'],
    ['TE: xtrailers\r\n', ''],
  ] as const) {
    const before = raw.received().length;
    raw.send(`GET ${trailersPath('X-Checksum: abc\r\n')} HTTP/1.1\r\nHost: localhost\r\n${te}\r\n`);
    const text = (await raw.until(new RegExp(`^[^]{${before}}HTTP[^]*\r\n0\r\n[^]*\r\n$`))).slice(before);
    assert.ok(text.endsWith(`5\r\nhello\r\n0\r\n${wanted}\r\n`), JSON.stringify([te, text]));
  }
});

test('an answer without trailers ends with its last DATA frame', async () => {
  using client = await connectFrames(daemon);
  client.send(headers(1, requestFields(daemon, trailersPath(''))));
  await client.until(({ type, flags }) => type === DATA && (flags & END_STREAM) !== 0);
  const frames = client.received().filter(({ stream }) => stream === 1);
  assert.equal(frames.length, 2, JSON.stringify(frames));
});

test('no process of the proxy ended meanwhile', () => assert.deepEqual(daemon.events('proxy_exited'), []));
