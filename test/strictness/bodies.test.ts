/** Request bodies between client and worker: framed whatever the method, never complete when their client went away. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { valueOf } from '../support/answers.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { inLanes } from '../support/lanes.ts';
import { answerOk, startRawUpstream } from '../support/raw_upstream.ts';
import type { RawConnection, RawUpstream } from '../support/raw_upstream.ts';
import { judge, judgeUpstream, sendBytes } from '../support/strictness.ts';
import { CHUNKED, chunked, length, request, SMUGGLED } from './cases.ts';

const ABORTS = 1_000;

let upstream: RawUpstream;
let daemon: Daemon;

before(async () => {
  upstream = await startRawUpstream(answerOk, answerEarly);
  daemon = await startDaemon({
    config: `logging: { access: false }
sites:
  - { hosts: ["*"], tls: off, redirect_https: false, service: web }
  - { hosts: [secure.test], service: web }
services:
  web: { upstreams: ["http://127.0.0.1:${upstream.port}"], health_check: { interval: 1h } }
`,
  });
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** A worker that refuses what is sent to `/early` as soon as it has its head. */
function answerEarly({ rest, socket }: RawConnection): void {
  if (!/^\w+ \/early\b[\s\S]*\r\n\r\n/.test(rest) || socket.bytesWritten > 0) return;
  socket.write('HTTP/1.1 413 Content Too Large\r\nX-Early: 1\r\nContent-Length: 2\r\n\r\nno');
}

/** A connection that holds the begin of the upload. */
function uploadOf(target: string): RawConnection | undefined {
  return upstream.connections.findLast(({ rest }) => rest.includes(` ${target} HTTP/1.1\r\n`));
}

for (const method of ['GET', 'HEAD', 'DELETE', 'OPTIONS']) {
  for (const [how, fields, body] of [
    ['with a length', length(SMUGGLED), SMUGGLED],
    ['chunked', CHUNKED, chunked(SMUGGLED)],
  ] as const) {
    test(`rule 15: a body of ${method} ${how} reaches the worker as one framed request (RFC 9112 section 6)`, async () => {
      const target = `/framed/${method}/${how.length}`;
      const exchanged = await sendBytes(daemon.ports.http, request({ method, target, fields, body }));
      const { findings, forwarded } = judge(exchanged, upstream);
      assert.deepEqual(findings, []);
      assert.deepEqual(judgeUpstream(upstream, upstream.received), []);
      assert.deepEqual(
        forwarded.map(({ message }) => [message.method, message.target, message.framing, message.body]),
        [[method, target, how === 'chunked' ? 'chunked' : 'length', SMUGGLED]],
      );
      assert.equal(upstream.received.at(-1), forwarded[0]);
    });
  }
}

test('rule 14: a body of TRACE is refused with it (RFC 9110 section 9.3.8)', async () => {
  const before = upstream.received.length;
  for (const [fields, body] of [
    [length(SMUGGLED), SMUGGLED],
    [CHUNKED, chunked(SMUGGLED)],
  ] as const) {
    const { answers } = await sendBytes(daemon.ports.http, request({ method: 'TRACE', fields, body }));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [405],
    );
  }
  assert.equal(upstream.received.length, before);
});

/** How a client leaves: with a FIN, with the end of both directions, with a reset. */
const LEAVINGS: readonly ((socket: net.Socket) => void)[] = [
  (socket) => void socket.end(),
  (socket) => void socket.destroy(),
  (socket) => void socket.resetAndDestroy(),
];
/** What of an upload is sent before that: nothing of its body, a part, or all but its last byte. */
const PARTS: readonly (readonly [fields: string, body: string])[] = [
  ['Content-Length: 100\r\n', ''],
  ['Content-Length: 100\r\n', 'x'.repeat(50)],
  ['Content-Length: 100\r\n', 'x'.repeat(99)],
  [CHUNKED, ''],
  [CHUNKED, '5\r\nhel'],
  [CHUNKED, '5\r\nhello\r\n'],
  [CHUNKED, chunked('hello').slice(0, -1)],
  [`${CHUNKED}Expect: 100-continue\r\n`, '5\r\nhello\r\n0\r\n'],
];

test(`of ${ABORTS} uploads that their clients abort none is complete at the worker`, async (t) => {
  await inLanes(Array.from({ length: ABORTS }).keys(), 32, async (index) => {
    const target = `/abort/${index}`;
    const [fields, body] = PARTS[index % PARTS.length] ?? assert.fail();
    const socket = net.connect(daemon.ports.http, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    await once(socket, 'connect');
    socket.write(request({ target, fields, body }));
    // Every fifth leaves at once; the others when the worker has begun to read.
    if (index % 5 > 0) await eventually(() => uploadOf(target) !== undefined, { everyMs: 2 });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    LEAVINGS[index % LEAVINGS.length]?.(socket);
    await closed;
  });
  const begun = upstream.connections.filter(({ rest }) => rest.includes(' /abort/'));
  await eventually(() => begun.every(({ closed }) => closed));
  t.diagnostic(`${begun.length} of them had begun at the worker`);
  assert.ok(begun.length >= ABORTS * 0.8);
  assert.deepEqual(
    upstream.received.filter(({ message }) => message.target.startsWith('/abort/')),
    [],
  );
});

for (const [how, fields, first, more] of [
  ['with a length', 'Content-Length: 1000\r\n', 'begin', `${SMUGGLED.repeat(10)}${'x'.repeat(1000)}`],
  ['chunked', CHUNKED, '5\r\nbegin\r\n', `${chunked(SMUGGLED)}${SMUGGLED}`],
] as const) {
  test(`rule 21: an answer before the end of a body ${how} ends both connections (RFC 9112 section 9.6)`, async () => {
    const target = `/early/${how.length}`;
    const before = upstream.received.length;
    // Goes on sending although it was told that nobody listens.
    const socket = net.connect({ port: daemon.ports.http, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.write(request({ target, fields, body: first }));
    await eventually(() => text.endsWith('\r\n\r\nno'));
    assert.match(text, /^HTTP\/1\.1 413 [\s\S]*\r\nX-Early: 1\r\n/);
    assert.match(text, /\r\nConnection: close\r\n/);
    socket.end(more);
    await eventually(() => socket.destroyed);
    const connection = uploadOf(target) ?? assert.fail();
    await eventually(() => connection.closed);
    assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1);
    assert.equal(upstream.received.length, before);
  });
}

test('rule 26: what is escaped in a target stays so in a redirect (RFC 9110 section 5.5)', async () => {
  const target = '/%0d%0aSet-Cookie:%20a=b%0A?q=%0d%0aX:%20y';
  const { answers } = await sendBytes(
    daemon.ports.http,
    request({ method: 'GET', target, host: 'Host: secure.test\r\n', fields: 'Connection: close\r\n' }),
  );
  const [answer] = answers;
  assert.equal(answer?.status, 308);
  assert.equal(valueOf(answer, 'location'), `https://secure.test:${daemon.ports.https}${target}`);
  assert.equal(valueOf(answer, 'set-cookie'), undefined);
});
