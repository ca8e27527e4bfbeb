/**
 * Hostile requests of HTTP/2 as raw frames through a running proxy, in front of an upstream of HTTP/1.1 that keeps every
 * byte: what arrives there is read by a strict reader and by the servers people run.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import {
  connectFrames,
  DATA,
  END_STREAM,
  frame,
  GOAWAY,
  headerFrames,
  headers,
  RST_STREAM,
  uint32,
} from '../support/frames.ts';
import type { Fields, Frame, FrameClient } from '../support/frames.ts';
import { inLanes } from '../support/lanes.ts';
import { readByParsers } from '../support/parsers.ts';
import { answerOk, startRawUpstream } from '../support/raw_upstream.ts';
import type { RawConnection, RawUpstream, Received } from '../support/raw_upstream.ts';
import { readAll } from '../support/strict_reader.ts';
import type { Message } from '../support/strict_reader.ts';
import { judgeForwarded, judgeUpstream, show } from '../support/strictness.ts';
import { HOST, request } from './http2_cases.ts';
import type { Http2Case, Http2Outcome } from './http2_cases.ts';
import { HTTP2_FIELDS } from './http2_field_cases.ts';
import { HTTP2_STARTS } from './http2_start_cases.ts';

const HTTP2_CASES = [...HTTP2_STARTS, ...HTTP2_FIELDS];
/** What a proxy that writes HTTP/2 down as HTTP/1.1 is expected to have been shown at least. */
const ENOUGH = 87;
const AT_ONCE = 12;
const { NGHTTP2_CANCEL: CANCEL, NGHTTP2_PROTOCOL_ERROR: PROTOCOL_ERROR } = constants;
const HANG_MS = 15_000;

let upstream: RawUpstream;
let daemon: Daemon;
const claimed: Received[] = [];

before(async () => {
  upstream = await startRawUpstream(answerOk);
  daemon = await startDaemon({
    entrypoint: 'timeouts: { headers: 5s, body_idle: 5s }',
    config: `logging: { access: false }
sites:
  - { hosts: [localhost], service: web }
  - { hosts: [second.localhost], service: web }
services:
  web: { upstreams: ["http://127.0.0.1:${upstream.port}"], health_check: { interval: 1h } }
`,
  });
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** By which a request is known at the upstream, whatever else is left of it. */
const MARK = 'x-case';

describe('requests of HTTP/2', { concurrency: AT_ONCE }, () => {
  HTTP2_CASES.forEach((one, index) => {
    test(`${one.name} (${one.outcome})`, async () => {
      const became = await send(one, String(index));
      const forwarded = upstream.received.filter(({ message }) => message.raw.includes(`\r\n${MARK}: ${index}\r\n`));
      claimed.push(...forwarded);
      assert.equal(became, one.outcome);
      assert.equal(forwarded.length, one.outcome === 'forwarded' ? 1 : 0);
      for (const { message } of forwarded) assert.deepEqual(judgeForwarded(inHttp1(one, index), message), []);
    });
  });
});

async function send({ fields, data, trailers }: Http2Case, mark: string): Promise<Http2Outcome | 'reset' | 'goaway'> {
  using client = await connectFrames(daemon);
  const marked: Fields = [...fields, [MARK, mark]];
  client.send(...headerFrames(1, marked, data.length === 0 ? END_STREAM : 0));
  data.forEach((piece, i) => {
    const ends = i === data.length - 1 && trailers.length === 0;
    client.send(frame(DATA, ends ? END_STREAM : 0, 1, piece));
  });
  if (trailers.length > 0) client.send(headers(1, trailers));
  const isLast = ({ type, flags, stream }: Frame): boolean =>
    type === GOAWAY || (stream === 1 && (type === RST_STREAM || (flags & END_STREAM) !== 0));
  const last = await client.until(isLast, HANG_MS);
  if (last.type === GOAWAY) return 'goaway';
  if (last.type === RST_STREAM) return 'reset';
  const text = client
    .received()
    .filter(({ type, stream }) => type === DATA && stream === 1)
    .map(({ payload }) => payload.toString('latin1'))
    .join('');
  // Answers of the proxy's own say their status in their first line; those to HEAD have none.
  const status = /^(\d{3}) /.exec(text)?.[1];
  return status === undefined ? 'forwarded' : Number(status);
}

/** What the worker must understand, written in HTTP/1.1. */
function inHttp1({ understood, data }: Http2Case, index: number): Message {
  const body = data.join('');
  const valueOf = (name: string): string | undefined => understood.find(([key]) => key === name)?.[1];
  const host = valueOf(':authority') ?? valueOf('host') ?? HOST;
  const lines = [...understood, [MARK, String(index)] as const].filter(
    ([name]) => !/^(?::.*|host|cookie|content-length)$/.test(name),
  );
  const cookies = understood.filter(([name]) => name === 'cookie').map(([, value]) => value);
  if (cookies.length > 0) lines.push(['cookie', cookies.join('; ')]);
  const head = [
    `${valueOf(':method')} ${valueOf(':path')} HTTP/1.1`,
    `Host: ${host}`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${body.length}`,
  ];
  const { messages } = readAll(`${head.join('\r\n')}\r\n\r\n${body}`);
  return messages[0] ?? assert.fail('the case itself is no request');
}

test('nothing else ever reached the upstream, and nothing half sent stays there', async (t) => {
  assert.deepEqual(judgeUpstream(upstream, claimed), []);
  const forged = upstream.connections.filter(({ rest }) => rest.includes('forged-by-client'));
  assert.deepEqual(forged, []);
  for (const { message } of upstream.received) {
    assert.ok(!message.raw.includes('forged-by-client'), show(message.raw));
    assert.match(message.raw, /\r\nHost: (?:localhost|LOCALHOST)\r\n/);
  }
  await eventually(() => upstream.connections.every(({ rest, closed }) => rest === '' || closed));
  t.diagnostic(`${HTTP2_CASES.length} cases, ${claimed.length} requests forwarded`);
  assert.ok(HTTP2_CASES.length >= ENOUGH);
});

/** How clients of HTTP/2 leave their uploads: one by one, or all of a connection at once. */
const LEAVINGS: readonly ((client: FrameClient, streams: readonly number[]) => void)[] = [
  (client, streams) => client.send(...streams.map((stream) => frame(RST_STREAM, 0, stream, uint32(CANCEL)))),
  (client) => client.send(frame(GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(PROTOCOL_ERROR)]))),
  // A frame that is an error of the whole connection.
  (client) => client.send(frame(DATA, 0, 0, 'x')),
  (client) => void client.socket.end(),
  (client) => void client.socket.destroy(),
];
/** What of an upload is sent before that: nothing of its body, a part, or all of it but the end of the stream. */
const PARTS: readonly (readonly [fields: Fields, data: readonly string[]])[] = [
  [[['content-length', '100']], []],
  [[['content-length', '100']], ['x'.repeat(50)]],
  [[['content-length', '100']], ['x'.repeat(50), 'x'.repeat(50)]],
  [[['content-length', '0']], []],
  [[], []],
  [[], ['hello']],
  [[], ['hello', '']],
  [[['expect', '100-continue']], ['hello']],
];
const ABORTS = 1_000;
const STREAMS = 20;

test(`of ${ABORTS} uploads that are cut over HTTP/2 none is complete at the worker`, async (t) => {
  await inLanes(Array.from({ length: ABORTS / STREAMS }).keys(), 8, async (index) => {
    using client = await connectFrames(daemon);
    const streams = Array.from({ length: STREAMS }, (_, i) => 2 * i + 1);
    for (const stream of streams) {
      const [more, data] = PARTS[(index + stream) % PARTS.length] ?? assert.fail();
      const fields = request({ ':method': 'POST', ':path': `/cut/${index}/${stream}` }, more);
      client.send(headers(stream, fields, 0), ...data.map((piece) => frame(DATA, 0, stream, piece)));
    }
    // Every fourth connection is left at once; the others when the worker has begun to read.
    if (index % 4 > 0) await eventually(() => begun(`/cut/${index}/`).length === STREAMS);
    LEAVINGS[index % LEAVINGS.length]?.(client, streams);
    await eventually(() => begun(`/cut/${index}/`).every(({ closed }) => closed));
  });
  t.diagnostic(`${begun('/cut/').length} of them had begun at the worker`);
  assert.ok(begun('/cut/').length >= ABORTS * 0.7);
  assert.deepEqual(
    upstream.received.filter(({ message }) => message.target.startsWith('/cut/')),
    [],
  );
});

/** Connections with a request below `path` that is not complete. */
function begun(path: string): readonly RawConnection[] {
  return upstream.connections.filter(({ rest }) => rest.includes(`POST ${path}`));
}

test('node:http, gunicorn and uvicorn read what was forwarded as it was meant', async (t) => {
  const { count, problems } = await readByParsers(
    daemon.folder,
    claimed.map(({ message }) => message),
  );
  t.diagnostic(`${count} different requests each`);
  assert.deepEqual(problems.slice(0, 20), [], `${problems.length} problems`);
});

test('no process of the proxy ended meanwhile', async () => {
  assert.deepEqual(daemon.events('proxy_exited'), []);
  assert.ok((await daemon.status()).proxies.every(({ state }) => state === 'ready'));
});
