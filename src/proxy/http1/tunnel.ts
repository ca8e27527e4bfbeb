/**
 * A connection that changes protocol (RFC 9110 section 7.8): the request is written anew, handed with the socket to a
 * node:http server that never listens, and from its `upgrade` event on http-proxy carries the bytes.
 */
import http from 'node:http';
import type net from 'node:net';
import { createProxyServer } from 'http-proxy';
import type { Clock, Swept } from '../clock.ts';
import { reasonPhrase, statusOf } from '../failure.ts';
import type { Failure } from '../failure.ts';
import { CLOSE_RESTART, FrameBounds } from './websocket_frames.ts';

export interface TunnelOptions {
  /** Nobody else reads it or listens to it any more. */
  readonly client: net.Socket;
  /** A fresh connection to the worker. */
  readonly upstream: net.Socket;
  /** The request's head as the worker gets it, and what the client sent behind it. */
  readonly head: string;
  readonly rest: Buffer | null;
  readonly clock: Clock;
  readonly responseMs: number;
  /** Without a byte in either direction for so long it is ended. */
  readonly idleMs: number;
  /** The worker answered. */
  readonly onAnswer: (switched: boolean) => void;
  readonly onEnd: (outcome: TunnelOutcome) => void;
}

export interface TunnelOutcome {
  /** 101, or what was answered instead. */
  readonly status: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly failure: Failure | null;
}

/** How long a client has to hear that its tunnel ends. */
const GOODBYE_MS = 1_000;

const server = http.createServer();
const proxy = createProxyServer();
const opening = new WeakMap<net.Socket, Tunnel>();

// A head of our own writing that asks for no upgrade cannot come here; should it, nobody answers.
server.on('request', (_request, response) => response.destroy());
server.on('clientError', (_error, socket) => socket.destroy());
server.on('upgrade', (request, socket, rest) => {
  const client = socket as net.Socket;
  opening.get(client)?.handOver(request, client, rest);
});
proxy.on('error', (_error, _request, socket) => {
  opening.get(socket as net.Socket)?.fail('upstream_closed');
});
proxy.on('proxyReqWs', (asked, _request, socket) => opening.get(socket)?.watch(asked));

/** Hands out one connection that is already there. */
class GivenConnection extends http.Agent {
  readonly #socket: net.Socket;

  constructor(socket: net.Socket) {
    super();
    this.#socket = socket;
  }

  override createConnection(): net.Socket {
    return this.#socket;
  }
}

export class Tunnel implements Swept {
  readonly #options: TunnelOptions;
  /** Of the worker's connection, before the first byte of the new protocol. */
  #headBytes = 0;
  #protocol = '';
  #moved = 0;
  #movedAt: number;
  #status = 0;
  #failure: Failure | null = null;
  #over = false;
  /** Of what the worker says; null: it speaks no WebSocket. */
  #frames: FrameBounds | null = null;

  constructor(options: TunnelOptions) {
    this.#options = options;
    const { client, upstream, clock, head, rest } = options;
    this.#movedAt = clock.now();
    // One side may say all it has to say and still listen.
    client.allowHalfOpen = true;
    upstream.allowHalfOpen = true;
    client.on('error', () => upstream.destroy()).once('close', () => this.#end());
    upstream.on('error', () => {}).once('close', () => client.destroySoon());
    clock.add(this);
    opening.set(client, this);
    if (rest !== null) client.unshift(rest);
    client.unshift(Buffer.from(head, 'latin1'));
    server.emit('connection', client);
    client.resume();
  }

  sweep(now: number): void {
    const { upstream, responseMs, idleMs } = this.#options;
    const moved = upstream.bytesRead + upstream.bytesWritten;
    if (this.#status === 0) {
      if (now - this.#movedAt >= responseMs) this.fail('upstream_timeout');
    } else if (moved !== this.#moved) {
      this.#moved = moved;
      this.#movedAt = now;
    } else if (now - this.#movedAt >= idleMs) {
      this.destroy();
    }
  }

  /** The worker leaves: a WebSocket's client is told so, if its worker is not in the middle of saying something. */
  close(): void {
    const { client, upstream } = this.#options;
    if (this.#over) return;
    if (this.#frames === null || !this.#frames.isBetween) return this.destroy();
    upstream.unpipe(client);
    client.unpipe(upstream);
    upstream.removeAllListeners('data');
    // Its answer is read, by nobody: to close over unread bytes would reset the connection under the frame.
    client.resume();
    client.end(CLOSE_RESTART);
    setTimeout(() => this.destroy(), GOODBYE_MS).unref();
  }

  destroy(): void {
    this.#options.client.destroy();
    this.#options.upstream.destroy();
  }

  /** The request is read: from here http-proxy asks the worker and joins the two. */
  handOver(request: http.IncomingMessage, client: net.Socket, rest: Buffer): void {
    const agent = new GivenConnection(this.#options.upstream);
    this.#protocol = request.headers.upgrade ?? '';
    // http-proxy takes nothing else; `watch` has the worker asked for what it is.
    request.headers.upgrade = 'websocket';
    proxy.ws(request, client, { target: 'ws://worker', agent }, rest).catch(() => this.destroy());
  }

  /** Hears the worker's answer before http-proxy does. */
  watch(asked: http.ClientRequest): void {
    const { upstream } = this.#options;
    const protocol = this.#protocol;
    asked.setHeader('Upgrade', protocol);
    asked.once('upgrade', (answer: http.IncomingMessage) => {
      // RFC 9110 section 7.8 and RFC 6455 section 4.1: a switch to something else is none we asked for.
      if (answer.headers.upgrade?.toLowerCase() !== protocol.toLowerCase()) return this.fail('upstream_invalid');
      this.#status = 101;
      this.#headBytes = upstream.bytesRead;
      if (protocol.toLowerCase() === 'websocket') this.#followFrames();
      this.#options.onAnswer(true);
    });
    asked.once('response', (answer: http.IncomingMessage) => {
      this.#status = answer.statusCode ?? 502;
      this.#headBytes = upstream.bytesRead;
      this.#options.onAnswer(false);
    });
  }

  #followFrames(): void {
    const { client, upstream } = this.#options;
    // From the pipe's beginning: a listener before it would take the first bytes away.
    client.once('pipe', () => {
      const frames = new FrameBounds();
      this.#frames = frames;
      upstream.on('data', (chunk: Buffer) => frames.read(chunk));
    });
  }

  /** What cannot be switched is answered, if nothing was answered yet. */
  fail(failure: Failure): void {
    const { client } = this.#options;
    if (this.#over || this.#failure !== null) return;
    this.#failure = failure;
    if (this.#status !== 0) return this.destroy();
    this.#status = statusOf(failure);
    client.end(
      `HTTP/1.1 ${this.#status} ${reasonPhrase(this.#status)}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      () => this.destroy(),
    );
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    const { client, upstream, clock, head, onEnd } = this.#options;
    clock.delete(this);
    opening.delete(client);
    upstream.destroy();
    const failure = this.#failure ?? (this.#status === 0 ? 'client_aborted' : null);
    onEnd({
      status: this.#status === 0 ? statusOf('client_aborted') : this.#status,
      bytesIn: Math.max(0, upstream.bytesWritten - head.length),
      bytesOut: Math.max(0, upstream.bytesRead - this.#headBytes),
      failure,
    });
  }
}
