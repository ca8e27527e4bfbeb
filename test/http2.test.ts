/** HTTP/2 in front of workers that speak HTTP/1.1: the same requests, answers, limits and clocks. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import path from 'node:path';
import tls from 'node:tls';
import { after, before, test } from 'node:test';
import { sleep } from '../src/lifecycle.ts';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { connectFrames, DATA, frame, GOAWAY, headers, requestFields, RST_STREAM, uint32 } from './support/frames.ts';
import type { Fields, FrameClient } from './support/frames.ts';
import { run } from './support/processes.ts';

const SITES = `sites:
  - { hosts: [localhost], service: web, max_body_size: 1MiB }
  - { hosts: [other.localhost], service: web }
`;

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({ config: `${SITES}${RECORDING_SERVICE}` });
});
after(() => daemon[Symbol.asyncDispose]());

type Session = ClientHttp2Session & Disposable;

async function connect(to: Daemon = daemon): Promise<Session> {
  const session = http2.connect(to.origin, { rejectUnauthorized: false });
  session.on('error', () => {});
  await once(session, 'connect');
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  let body = '';
  for await (const chunk of stream) body += String(chunk);
  return { status: headers[':status'], headers, body };
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return answerOf(stream);
}

interface Echo {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly raw: readonly string[];
  readonly length: number;
  readonly body: string;
}

async function echo(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string): Promise<Echo> {
  const answer = await ask(session, { ':path': '/echo', ...headers }, body);
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(answer.body) as Echo;
}

test('a worker gets the same HTTP/1.1 head as from an HTTP/1.1 client', async () => {
  using session = await connect();
  const { headers, raw } = await echo(session, {
    cookie: ['a=1', 'b=2'],
    te: 'trailers',
    'x-forwarded-for': '6.6.6.6',
    x_odd: 'dropped',
    'x-kept': 'yes',
  });
  assert.equal(headers['host'], `localhost:${daemon.ports.https}`);
  assert.equal(headers['cookie'], 'a=1; b=2');
  assert.equal(headers['x-forwarded-for'], '127.0.0.1');
  assert.equal(headers['x-forwarded-proto'], 'https');
  assert.equal(headers['x-kept'], 'yes');
  for (const name of ['te', 'x_odd', 'connection', 'transfer-encoding']) assert.equal(headers[name], undefined, name);
  assert.equal(raw.filter((name) => name.toLowerCase() === 'host').length, 1);
});

test('a body is framed whatever the method, by its length or in chunks', async () => {
  using session = await connect();
  for (const method of ['GET', 'DELETE', 'OPTIONS', 'POST', 'PUT']) {
    const chunked = await echo(session, { ':method': method }, 'GET /smuggled HTTP/1.1\r\n\r\n');
    assert.deepEqual([chunked.length, chunked.headers['transfer-encoding']], [26, 'chunked'], method);
    const sized = await echo(session, { ':method': method, 'content-length': 5 }, 'hello');
    assert.deepEqual([sized.body, sized.headers['content-length']], ['hello', '5'], method);
  }
});

test('HEAD, 204 and 304 end with their head', async () => {
  using session = await connect();
  const head = await ask(session, { ':method': 'HEAD', ':path': '/bytes?size=5' });
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '5', '']);
  for (const code of [204, 304]) {
    assert.deepEqual((await ask(session, { ':path': `/status?code=${code}` })).status, code);
  }
});

test('large bodies pass both ways', async () => {
  const { stdout } = await run('curl', [
    '-sk',
    '--http2',
    `${daemon.origin}/bytes?size=30000000`,
    '-o',
    '/dev/null',
    '-w',
    '%{http_version} %{size_download}',
  ]);
  assert.equal(stdout, '2 30000000');
  using session = await connect();
  const { length } = await echo(session, { ':method': 'POST', ':authority': 'localhost' }, 'x'.repeat(1_000_000));
  assert.equal(length, 1_000_000);
});

test('a body over its limit is refused before it is read, or while it is', async () => {
  using session = await connect();
  const announced = session.request({ ':method': 'POST', ':path': '/echo', 'content-length': 5_000_000 });
  announced.on('error', () => {});
  assert.equal((await answerOf(announced)).status, 413);
  assert.equal(announced.rstCode, http2.constants.NGHTTP2_NO_ERROR);
  const unannounced = session.request({ ':method': 'POST', ':path': '/echo' });
  unannounced.on('error', () => {}).end('x'.repeat(2_000_000));
  assert.equal((await answerOf(unannounced)).status, 413);
  assert.equal((await ask(session, { ':path': '/' })).status, 200, 'the connection goes on');
});

test('an upload that is cut never reaches its worker as a whole request', async () => {
  const executed = (): string => readFileSync(path.join(daemon.folder, 'shared/executed'), 'utf8');
  const post = (id: string, more: Fields): Fields =>
    requestFields(daemon, '/whole', { method: 'POST', more: [['x-id', id], ...more] });
  const cuts: readonly ((client: FrameClient) => void)[] = [
    (client) => client.send(frame(RST_STREAM, 0, 1, uint32(http2.constants.NGHTTP2_CANCEL))),
    (client) => client.send(frame(GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(2)]))),
    (client) => client.socket.destroy(),
    (client) => client.socket.end(),
  ];
  for (const [i, cut] of cuts.entries()) {
    for (const [j, framing] of [[], [['content-length', '50000']] as const].entries()) {
      using client = await connectFrames(daemon);
      client.send(headers(1, post(`cut-${i}${j}`, framing), 0), frame(DATA, 0, 1, 'x'.repeat(10_000)));
      await eventually(() => executed().includes(`cut-${i}${j} `));
      cut(client);
      await eventually(
        () => daemon.events('access').filter(({ target }) => target === '/whole').length === i * 2 + j + 1,
      );
    }
  }
  await sleep(100);
  assert.doesNotMatch(executed(), /whole/);
});

test("a host that the connection's certificate is not for is refused as misdirected", async () => {
  using session = await connect();
  assert.equal((await ask(session, { ':authority': `other.localhost:${daemon.ports.https}` })).status, 421);
  assert.equal((await ask(session, { ':authority': 'stranger.example' })).status, 404);
});

test('a client that speaks no protocol of ours is told so in the handshake', async () => {
  const socket = tls.connect({
    port: daemon.ports.https,
    servername: 'localhost',
    rejectUnauthorized: false,
    ALPNProtocols: ['imap'],
  });
  const [error] = (await once(socket, 'error')) as [Error & { code?: string }];
  assert.match(String(error.code), /NO_APPLICATION_PROTOCOL/);
});

test('the access log says which protocol it was', async () => {
  using session = await connect();
  await ask(session, { ':path': '/logged' });
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/logged'));
  assert.deepEqual([line['protocol'], line['status'], line['tls']], ['HTTP/2', 200, 'TLSv1.3']);
});

test('at the end GOAWAY is said and what was asked is answered', async () => {
  await using own = await startDaemon({ config: `${SITES}${RECORDING_SERVICE}` });
  using session = await connect(own);
  const goaway = once(session, 'goaway');
  const slow = ask(session, { ':path': '/slow?ms=700', 'x-id': 'last' });
  await sleep(200);
  own.child.kill('SIGTERM');
  await goaway;
  assert.equal((await slow).body, 'slow last');
  assert.equal(await own.exited, 0);
});

test('after GOAWAY no request is begun, and the connection ends with the last that was', async () => {
  await using own = await startDaemon({ config: `${SITES}${RECORDING_SERVICE}` });
  using client = await connectFrames(own);
  const request = (stream: number, path: string): Buffer =>
    headers(stream, requestFields(own, path, { more: [['x-id', `of-${stream}`]] }));
  const executed = (): string => readFileSync(path.join(own.folder, 'shared/executed'), 'utf8');
  client.send(request(1, '/slow?ms=1000'));
  await eventually(() => executed().includes('of-1 '));
  own.child.kill('SIGTERM');
  const goaway = await client.until(({ type }) => type === GOAWAY);
  assert.deepEqual([goaway.payload.readUInt32BE(0), goaway.payload.readUInt32BE(4)], [1, 0]);
  client.send(request(3, '/'));
  const data = await client.until(({ type, stream }) => type === DATA && stream === 1);
  assert.equal(data.payload.toString(), 'slow of-1');
  await client.closed();
  assert.equal(await own.exited, 0);
  assert.doesNotMatch(executed(), /of-3/);
});

test('a request whose reset comes with it is never begun, those beside it are', async () => {
  using client = await connectFrames(daemon);
  const streams = Array.from({ length: 20 }, (_, i) => 2 * i + 1);
  const isReset = (stream: number): boolean => stream % 4 === 1;
  client.send(
    ...streams.flatMap((stream) => [
      headers(stream, requestFields(daemon, `/turn/${stream}`)),
      ...(isReset(stream) ? [frame(RST_STREAM, 0, stream, uint32(http2.constants.NGHTTP2_CANCEL))] : []),
    ]),
  );
  const begun = (): number[] =>
    daemon
      .events('access')
      .flatMap(({ target }) => /^\/turn\/(\d+)$/.exec(String(target))?.slice(1) ?? [])
      .map(Number)
      .toSorted((a, b) => a - b);
  const wanted = streams.filter((stream) => !isReset(stream));
  await eventually(() => begun().length >= wanted.length);
  assert.deepEqual(begun(), wanted);
});

test('every wait has its end', async () => {
  await using own = await startDaemon({
    config: `${SITES}${RECORDING_SERVICE}`,
    entrypoint: 'timeouts: { headers: 1s, idle: 1s, body_idle: 1s, write_idle: 1s }',
  });
  const options = { port: own.ports.https, servername: 'localhost', rejectUnauthorized: false, ALPNProtocols: ['h2'] };
  const silent = tls.connect(options).on('error', () => {});
  silent.resume();
  using idle = await connect(own);
  using uploading = await connect(own);
  const upload = uploading.request({ ':method': 'POST', ':path': '/echo' });
  upload.on('error', () => {}).write('x');
  using reading = await connect(own);
  const download = reading.request({ ':path': '/bytes?size=10000000' });
  await Promise.all([
    once(silent, 'close'),
    once(idle, 'close'),
    answerOf(upload).then(({ status }) => assert.equal(status, 408)),
    // It never reads: what fits into its window stays there.
    once(download, 'error').then(() => assert.equal(download.rstCode, http2.constants.NGHTTP2_INTERNAL_ERROR)),
  ]);
});

for (const [maxHeaders, maxRequestLine] of [
  [10, 256],
  [150, 12_000],
] as const) {
  test(`takes ${maxHeaders} fields and a path of ${maxRequestLine} bytes where it is told to, and no more`, async () => {
    await using own = await startDaemon({
      config: `${SITES}${RECORDING_SERVICE}`,
      entrypoint: `max_headers: ${maxHeaders}, max_request_line: ${maxRequestLine}`,
    });
    using session = await connect(own);
    const status = async (pathLength: number, fields: number): Promise<number | undefined> => {
      const more = Object.fromEntries(Array.from({ length: fields }, (_, i) => [`x-${i}`, 'y']));
      return (await ask(session, { ':path': '/'.padEnd(pathLength, 'a'), ...more })).status;
    };
    assert.equal(await status(maxRequestLine, maxHeaders), 200);
    assert.equal(await status(maxRequestLine + 1, maxHeaders), 414);
    assert.equal(await status(maxRequestLine, maxHeaders + 1), 431);
    assert.equal(await status(1, 0), 200, 'the connection goes on');
  });
}

test('http2: false leaves HTTP/1.1', async () => {
  await using own = await startDaemon({ config: `${SITES}${RECORDING_SERVICE}`, entrypoint: 'http2: false' });
  const { stdout } = await run('curl', [
    '-sk',
    '--http2',
    '-o',
    '/dev/null',
    '-w',
    '%{http_version} %{http_code}',
    own.origin,
  ]);
  assert.equal(stdout, '1.1 200');
});
