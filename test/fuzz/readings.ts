/** One message as it was read: by our codec, and by llhttp (node:http) on a real connection. */
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { ChunkedDecoder, DECODED_DATA, DECODED_END, DECODED_MORE } from '../../src/proxy/http1/chunked.ts';
import { findHeadEnd } from '../../src/proxy/http1/head_end.ts';
import { parseRequestHead, RequestHead } from '../../src/proxy/http1/request_head.ts';
import { parseResponseHead, ResponseHead } from '../../src/proxy/http1/response_head.ts';

export interface Reading {
  readonly verdict: 'accepted' | 'refused' | 'incomplete';
  readonly start: string;
  readonly body: string;
  /** More bytes follow. */
  readonly excess: boolean;
}

const REFUSED: Reading = { verdict: 'refused', start: '', body: '', excess: false };
const LIMITS = { maxHeaders: 100, maxRequestLine: 8 * 1024 };
const INCOMPLETE: Reading = { verdict: 'incomplete', start: '', body: '', excess: false };

export function readRequest(input: string): Reading {
  const bytes = Buffer.from(input, 'latin1');
  const end = findHeadEnd(bytes, 0);
  if (end < 0) return end === -1 ? INCOMPLETE : REFUSED;
  const head = new RequestHead();
  if (parseRequestHead(bytes.toString('latin1', 0, end), head, LIMITS) !== 0) return REFUSED;
  const start = `${head.method} ${head.host} 1.${head.minor} keep=${head.keepAlive}`;
  return readBody(bytes, end, head.bodyKind, head.contentLength, start);
}

export function readResponse(input: string): Reading {
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

export interface LlhttpServer extends AsyncDisposable {
  read(input: string): Promise<Reading>;
}

export async function startLlhttpServer(): Promise<LlhttpServer> {
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

export interface RawOrigin extends AsyncDisposable {
  readWithLlhttp(input: string): Promise<Reading>;
}

/** Sends given bytes as its answer and closes; the reader is node:http's client. */
export async function startRawOrigin(): Promise<RawOrigin> {
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
