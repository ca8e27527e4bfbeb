/**
 * Our codec beside llhttp (node:http) on the same bytes: a corpus and seeded mutations of it. What llhttp refuses we
 * must refuse too, and what both accept both must read alike. We may refuse more.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ChunkedDecoder, DECODED_DATA, DECODED_END, DECODED_MORE } from './chunked.ts';
import { findHeadEnd } from './head_end.ts';
import { parseRequestHead, RequestHead } from './request_head.ts';
import { parseResponseHead, ResponseHead } from './response_head.ts';

interface Reading {
  readonly verdict: 'accepted' | 'refused' | 'incomplete';
  readonly start: string;
  readonly body: string;
  /** More bytes follow. */
  readonly excess: boolean;
}

const REFUSED: Reading = { verdict: 'refused', start: '', body: '', excess: false };
const INCOMPLETE: Reading = { verdict: 'incomplete', start: '', body: '', excess: false };

/** Node answers these itself or hands them to other listeners; they are refused here anyway. */
const OURS_ALONE = /^(?:CONNECT|TRACE) /;

const REQUESTS = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /a/b?c=d&e=%20f HTTP/1.1\r\nHost: a.example:8443\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n',
  'GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n',
  'HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n',
  'PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n',
  'PATCH /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a="b"\r\nabc\r\n0\r\nX: y\r\n\r\n',
  'DELETE /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX-A: \tb \r\n\r\nabc',
  'POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
];

const RESPONSES = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n',
  'HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
  'HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi',
  'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n',
];

const MUTATIONS_EACH = 800;

test('accepts no request that llhttp refuses, and reads the others alike', { timeout: 60_000 }, async () => {
  await using llhttp = await startLlhttpServer();
  const tally = { both: 0, oursRefusesMore: 0, cases: 0 };
  const random = seeded(20261123);
  for (const source of REQUESTS) {
    const inputs = [source, ...Array.from({ length: MUTATIONS_EACH }, () => mutate(source, random))];
    await inBatches(inputs, 32, async (input) => {
      if (OURS_ALONE.test(input)) return;
      const ours = readRequest(input);
      const theirs = await llhttp.read(input);
      tally.cases++;
      if (ours.verdict === 'accepted') {
        assert.deepEqual({ ...ours, excess: false }, theirs, JSON.stringify(input));
        tally.both++;
      } else if (theirs.verdict === 'accepted') {
        tally.oursRefusesMore++;
      }
    });
  }
  // The comparison itself is alive: a good part is accepted by both, and we are the stricter one.
  assert.ok(tally.both > REQUESTS.length * 20, JSON.stringify(tally));
  assert.ok(tally.oursRefusesMore > 0, JSON.stringify(tally));
});

test('accepts no response that llhttp refuses, and reads the others alike', { timeout: 60_000 }, async () => {
  await using origin = await startRawOrigin();
  const random = seeded(42);
  let both = 0;
  for (const source of RESPONSES) {
    const inputs = [source, ...Array.from({ length: MUTATIONS_EACH }, () => mutate(source, random))];
    await inBatches(inputs, 32, async (input) => {
      const ours = readResponse(input);
      // What follows a whole response ends that connection here, without harm to the response; node:http drops both.
      if (ours.verdict !== 'accepted' || ours.excess) return;
      assert.deepEqual({ ...ours, excess: false }, await origin.readWithLlhttp(input), JSON.stringify(input));
      both++;
    });
  }
  assert.ok(both > RESPONSES.length * 20, String(both));
});

function readRequest(input: string): Reading {
  const bytes = Buffer.from(input, 'latin1');
  const end = findHeadEnd(bytes, 0);
  if (end < 0) return end === -1 ? INCOMPLETE : REFUSED;
  const head = new RequestHead();
  if (parseRequestHead(bytes.toString('latin1', 0, end), head) !== 0) return REFUSED;
  const start = `${head.method} ${head.host} 1.${head.minor} keep=${head.keepAlive}`;
  return readBody(bytes, end, head.bodyKind, head.contentLength, start);
}

function readResponse(input: string): Reading {
  const bytes = Buffer.from(input, 'latin1');
  const end = findHeadEnd(bytes, 0);
  if (end < 0) return end === -1 ? INCOMPLETE : REFUSED;
  const head = new ResponseHead();
  if (parseResponseHead(bytes.toString('latin1', 0, end), head, 'GET') !== 0) return REFUSED;
  // Interim responses are read on from, by whoever reads them; a closed connection ends the rest.
  if (head.status < 200) return INCOMPLETE;
  const start = `${head.status} ${head.reason} 1.${head.minor}`;
  if (head.bodyKind !== 'close') return readBody(bytes, end, head.bodyKind, head.contentLength, start);
  return { verdict: 'accepted', start, body: bytes.toString('latin1', end), excess: false };
}

function readBody(bytes: Buffer, at: number, kind: string, length: number, start: string): Reading {
  if (kind === 'none') return { verdict: 'accepted', start, body: '', excess: at < bytes.length };
  if (kind === 'length') {
    if (bytes.length - at < length) return INCOMPLETE;
    const body = bytes.toString('latin1', at, at + length);
    return { verdict: 'accepted', start, body, excess: at + length < bytes.length };
  }
  const decoder = new ChunkedDecoder();
  let body = '';
  for (let from = at; from < bytes.length; from = decoder.position) {
    const code = decoder.next(bytes, from);
    if (code === DECODED_DATA) body += bytes.toString('latin1', decoder.dataStart, decoder.dataEnd);
    else if (code === DECODED_END) {
      return { verdict: 'accepted', start, body, excess: decoder.position < bytes.length };
    } else return code === DECODED_MORE ? INCOMPLETE : REFUSED;
  }
  return INCOMPLETE;
}

interface LlhttpServer extends AsyncDisposable {
  read(input: string): Promise<Reading>;
}

async function startLlhttpServer(): Promise<LlhttpServer> {
  const readings = new Map<net.Socket, Reading>();
  const server = http.createServer({ requireHostHeader: true }, (request, response) => {
    const { socket } = request;
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('error', () => {});
    request.on('end', () => {
      const host = hostOf(request);
      const start = `${request.method} ${host} ${request.httpVersion} keep=${response.shouldKeepAlive}`;
      // Only the first message of the input is compared.
      if (!readings.has(socket)) {
        readings.set(socket, {
          verdict: 'accepted',
          start,
          body: Buffer.concat(chunks).toString('latin1'),
          excess: false,
        });
      }
      response.end();
    });
  });
  server.on('clientError', (_error, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = new Map<number, net.Socket>();
  server.on('connection', (socket: net.Socket) => sockets.set(socket.remotePort ?? 0, socket));
  return {
    read: async (input) => {
      const client = net.connect({ port, host: '127.0.0.1' });
      client.on('error', () => {});
      await once(client, 'connect');
      const { localPort } = client;
      client.end(Buffer.from(input, 'latin1'));
      client.resume();
      await new Promise((resolve) => client.once('close', resolve));
      const socket = sockets.get(localPort ?? 0);
      sockets.delete(localPort ?? 0);
      return (socket === undefined ? undefined : readings.get(socket)) ?? REFUSED;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** node:http leaves an absolute target's authority to its users. */
function hostOf(request: http.IncomingMessage): string {
  const target = request.url ?? '';
  const host = /^https?:\/\/([^/?#]*)/i.exec(target)?.[1] ?? request.headers.host ?? '';
  return host
    .toLowerCase()
    .replace(/:\d*$/, '')
    .replace(/(?<=.)\.$/, '');
}

interface RawOrigin extends AsyncDisposable {
  readWithLlhttp(input: string): Promise<Reading>;
}

/** Sends given bytes as its answer and closes; the reader is node:http's client. */
async function startRawOrigin(): Promise<RawOrigin> {
  const answers = new Map<string, string>();
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (head: Buffer) => {
      const id = /GET \/(\d+) /.exec(head.toString('latin1'))?.[1] ?? '';
      socket.end(Buffer.from(answers.get(id) ?? '', 'latin1'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let next = 0;
  return {
    readWithLlhttp: (input) =>
      new Promise((resolve) => {
        const id = String(next++);
        answers.set(id, input);
        const request = http.get({ port, host: '127.0.0.1', path: `/${id}`, agent: false }, (response) => {
          const chunks: Buffer[] = [];
          const start = `${response.statusCode} ${response.statusMessage} ${response.httpVersion}`;
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', () => resolve(REFUSED));
          response.on('end', () =>
            resolve({ verdict: 'accepted', start, body: Buffer.concat(chunks).toString('latin1'), excess: false }),
          );
        });
        request.on('error', () => resolve(REFUSED));
      }),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const SPICE = [
  '\r',
  '\n',
  '\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '_',
  '+',
  '-',
  '0',
  '1',
  'a',
  '"',
  '\\',
  '/',
  '#',
  '%',
  '\x7f',
  '\x80',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Host: b\r\n',
  'Connection: close\r\n',
  '\r\n ',
  'chunked',
  '0x',
];

/** One to three insertions, deletions, replacements or duplications. */
function mutate(source: string, random: () => number): string {
  let text = source;
  for (let count = 1 + Math.floor(random() * 3); count > 0; count--) {
    const at = Math.floor(random() * text.length);
    const length = Math.floor(random() * 6);
    const spice = SPICE[Math.floor(random() * SPICE.length)] ?? '';
    const kind = Math.floor(random() * 4);
    if (kind === 0) text = text.slice(0, at) + spice + text.slice(at);
    else if (kind === 1) text = text.slice(0, at) + text.slice(at + 1 + length);
    else if (kind === 2) text = text.slice(0, at) + spice + text.slice(at + spice.length);
    else text = text.slice(0, at + length) + text.slice(at);
  }
  return text;
}

/** mulberry32: the same numbers on every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

async function inBatches<T>(items: readonly T[], size: number, run: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += size) await Promise.all(items.slice(at, at + size).map(run));
}
