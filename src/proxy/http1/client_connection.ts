/**
 * One HTTP/1.1 connection of a client: reads requests strictly, one at a time, and writes answers. Nothing is allocated
 * per request but the strings that are sent and logged.
 */
import type net from 'node:net';
import type { Swept } from '../clock.ts';
import { reasonPhrase, statusOf } from '../failure.ts';
import type { Failure } from '../failure.ts';
import type { Entry, Front } from '../front.ts';
import { MinimumRate } from '../minimum_rate.ts';
import { Transaction } from '../transaction.ts';
import type { ClientStream } from '../transaction.ts';
import type { ClientInfo } from '../client_identity.ts';
import { WriteStall } from '../write_stall.ts';
import { BODY_INVALID, BodyReader } from './body_reader.ts';
import type { BodySink } from './body_reader.ts';
import { findHeadEnd, glance, headLength } from './head_end.ts';
import { Outbox } from './outbox.ts';
import { parseRequestHead, RequestHead } from './request_head.ts';
import type { ResponseHead } from './response_head.ts';
import { Tunnel } from './tunnel.ts';
import { Wire } from '../wire.ts';
import type { WireListener } from '../wire.ts';

/** How long, and how much, is still read after an answer that ends the connection, so that the client gets to read it. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 1024 * 1024;

/**
 * idle: between requests. head: part of a head has come. body: the request's body is being read. waiting: the request is
 * complete, its answer is not. lingering: everything is said, what still comes is thrown away. tunnel: it speaks another
 * protocol now.
 */
type State = 'idle' | 'head' | 'body' | 'waiting' | 'lingering' | 'tunnel' | 'closed';

export class ClientConnection implements ClientStream, BodySink, Swept, WireListener {
  readonly #wire: Wire;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #client: ClientInfo;
  readonly #transaction: Transaction;
  readonly #out: Outbox;
  readonly #head = new RequestHead();
  readonly #onClose: () => void;
  #tunnel: Tunnel | null = null;
  #state: State = 'idle';
  #pending: Buffer | null = null;
  #deadline: number;
  readonly #body = new BodyReader();
  #keepAlive = true;
  /** How the response's body is framed towards the client. */
  #framing: 'none' | 'identity' | 'chunked' = 'none';
  readonly #stall = new WriteStall();
  readonly #readRate = new MinimumRate();
  readonly #writeRate = new MinimumRate();
  #requests = 0;
  #lingered = 0;

  constructor(socket: net.Socket, front: Front, entry: Entry, client: ClientInfo, onClose: () => void) {
    this.#front = front;
    this.#entry = entry;
    this.#client = client;
    this.#onClose = onClose;
    this.#transaction = new Transaction(this, front, client, this.#head);
    // A connection that says nothing gets no more time than a head may take, and a last moment when all is ending.
    this.#deadline = front.clock.now() + (front.draining ? LINGER_MS : entry.limits.headersMs);
    this.#wire = new Wire(socket, this);
    this.#out = new Outbox(this.#wire);
    front.clock.add(this);
  }

  /** Ends the connection as soon as no request is on it. */
  drain(): void {
    this.#keepAlive = false;
    if (this.#state !== 'idle') return;
    if (this.#requests === 0) this.#deadline = this.#front.clock.recent + LINGER_MS;
    else if (this.#wire.unsent > 0) this.#linger();
    else this.destroy();
  }

  destroy(): void {
    if (this.#state === 'tunnel') return this.#tunnel?.destroy();
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#front.clock.delete(this);
    this.#wire.destroy();
    this.#onClose();
  }

  sweep(now: number): void {
    const { writeIdleMs, minRate } = this.#entry.limits;
    const { unsent, sent } = this.#wire;
    if (this.#stall.check(unsent, now, writeIdleMs) || this.#readRate.isTooSlow(sent, unsent > 0, now, minRate)) {
      this.#wire.reset();
      this.#abandon('client_aborted');
    } else if (
      // Without a deadline the worker is what is waited for.
      this.#writeRate.isTooSlow(
        this.#wire.socket.bytesRead,
        this.#state === 'body' && this.#deadline !== 0,
        now,
        minRate,
      )
    ) {
      this.#transaction.fail('body_timeout', 'the request body came too slowly');
    } else if (this.#deadline !== 0 && now >= this.#deadline) {
      if (this.#state === 'head') this.#refuse('header_timeout', 'the request head took too long');
      else if (this.#state === 'body') this.#transaction.fail('body_timeout', 'the request body stopped coming');
      else if (unsent === 0) this.destroy();
      // A slow client still takes the last answer: what comes after begins after.
      else this.#deadline = now + (this.#state === 'idle' ? this.#entry.limits.idleMs : LINGER_MS);
    }
  }

  // The request.

  onConnect(): void {}

  onBytes(chunk: Buffer): void {
    if (this.#state === 'body') {
      const at = this.#readBody(chunk, 0);
      if (at < 0 || at >= chunk.length) return;
      chunk = chunk.subarray(at);
    }
    if (this.#state === 'lingering') {
      this.#lingered += chunk.length;
      if (this.#lingered > LINGER_BYTES) this.destroy();
    } else if (this.#state === 'idle' || this.#state === 'head') {
      this.#readHeads(chunk);
    } else if (this.#state !== 'closed') {
      this.#keepForLater(chunk);
    }
  }

  /** A pipelined request waits for its turn, and so does the client that sends more of them. */
  #keepForLater(chunk: Buffer): void {
    this.#pending = this.#pending === null ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    if (this.#pending.length >= this.#entry.limits.maxHeaderSize) this.#wire.pause();
  }

  #readHeads(chunk: Buffer): void {
    let data = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = null;
    for (;;) {
      // RFC 9112 section 2.2: an empty line before the request line is to be ignored.
      let start = 0;
      while (data[start] === 0x0d && data[start + 1] === 0x0a && start < 4) start += 2;
      if (start === data.length) return;
      const { limits } = this.#entry;
      const { maxHeaderSize, headersMs } = limits;
      const text = glance(data, start);
      const length = headLength(text);
      const end = length > 0 ? start + length : findHeadEnd(data, start);
      if (end < 0) {
        if (this.#state === 'idle') {
          this.#state = 'head';
          this.#deadline = this.#front.clock.recent + headersMs;
        }
        if (end !== -1) return this.#refuseStatus(400, 'a line of the head does not end in CRLF');
        if (data.length - start > maxHeaderSize) return this.#refuse('head_too_large', 'the request head is too large');
        this.#pending = Buffer.from(data.subarray(start));
        return;
      }
      if (end - start > maxHeaderSize) return this.#refuse('head_too_large', 'the request head is too large');
      const whole = length > 0 ? text : data.toString('latin1', start, end);
      const status = parseRequestHead(whole, this.#head, limits, end - start);
      if (status !== 0) return this.#refuseStatus(status, this.#head.problem);
      if (this.#head.scheme !== null && this.#head.scheme !== this.#client.scheme) {
        return this.#refuseStatus(400, "the request target's scheme is not the connection's");
      }
      let at = end;
      this.#beginRequest();
      if (this.#isReading()) at = this.#readBody(data, at);
      if (at < 0 || at === data.length || this.#isOver()) return;
      data = data.subarray(at);
      // An answer of our own may already be complete; otherwise what follows waits.
      if (this.#state !== 'idle') return this.#keepForLater(data);
    }
  }

  // Asked through functions because a state changes behind the compiler's back.
  #isReading(): boolean {
    return this.#state === 'body';
  }

  #isOver(): boolean {
    return this.#state === 'lingering' || this.#state === 'closed';
  }

  #beginRequest(): void {
    const head = this.#head;
    const { maxRequests } = this.#entry.limits;
    this.#keepAlive = head.keepAlive && !this.#front.draining && ++this.#requests !== maxRequests;
    this.#body.begin(head.bodyKind, head.contentLength);
    const { complete } = this.#body;
    this.#state = complete ? 'waiting' : 'body';
    this.#deadline = complete ? 0 : this.#front.clock.recent + this.#entry.limits.bodyIdleMs;
    this.#transaction.begin(complete);
  }

  /** Hands on what belongs to the body; returns where it stopped, or -1 when the request is over. */
  #readBody(chunk: Buffer, at: number): number {
    this.#deadline = this.#front.clock.recent + this.#entry.limits.bodyIdleMs;
    const end = this.#body.read(chunk, at, this);
    if (end === BODY_INVALID) this.#transaction.fail('bad_request', 'the chunked encoding is invalid');
    if (end < 0) return -1;
    if (this.#body.complete) this.#bodyComplete();
    return end;
  }

  onBody(piece: Buffer): boolean {
    return this.#transaction.body(piece);
  }

  #bodyComplete(): void {
    if (this.#state === 'body') this.#state = 'waiting';
    this.#deadline = 0;
    this.#transaction.bodyEnd();
  }

  pauseRequest(): void {
    this.#wire.pause();
    this.#deadline = 0;
  }

  resumeRequest(): void {
    if (this.#state !== 'body') return;
    this.#deadline = this.#front.clock.recent + this.#entry.limits.bodyIdleMs;
    this.#wire.resume();
  }

  // The response.

  sendContinue(): void {
    this.#wire.writeLatin1('HTTP/1.1 100 Continue\r\n\r\n');
  }

  sendHead(head: ResponseHead, fields: string, requestId: string): void {
    const http11 = this.#head.minor === 1;
    // The rest of a body that may never come must not be taken for the next request.
    if (!this.#transaction.requestComplete) this.#keepAlive = false;
    this.#framing = head.bodyKind === 'none' ? 'none' : head.bodyKind === 'length' || !http11 ? 'identity' : 'chunked';
    if (this.#framing === 'identity' && head.bodyKind !== 'length') this.#keepAlive = false;
    let out = `HTTP/1.1 ${head.status} ${head.reason}\r\n${fields}`;
    if (head.bodyKind === 'length') out += `Content-Length: ${head.contentLength}\r\n`;
    else if (this.#framing === 'chunked') out += 'Transfer-Encoding: chunked\r\n';
    out += this.#connectionLine();
    this.#out.push(`${out}${requestIdLine(requestId)}\r\n`);
  }

  sendData(chunk: Buffer): void {
    if (this.#framing === 'chunked') this.#out.pushChunk(chunk);
    else this.#out.pushBytes(chunk);
  }

  sendEnd(trailers: string): void {
    if (this.#framing === 'chunked') {
      this.#out.push(trailers === '' || !this.#head.acceptsTrailers ? '0\r\n\r\n' : `0\r\n${trailers}\r\n`);
    }
    this.#out.flush();
  }

  flush(): void {
    this.#out.flush();
    if (!this.#wire.hasRoom) this.#transaction.pauseResponse();
  }

  sendAnswer(status: number, fields: string, body: string, requestId: string): void {
    if (!this.#transaction.requestComplete) this.#keepAlive = false;
    const head =
      `HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n${fields}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n${this.#connectionLine()}${requestIdLine(requestId)}\r\n`;
    this.#wire.write(Buffer.from(this.#head.method === 'HEAD' ? head : head + body));
  }

  endTunnel(): void {
    this.#tunnel?.close();
  }

  cut(): void {
    this.destroy();
  }

  readonly tunnel = (upstream: net.Socket, head: string, responseMs: number): void => {
    this.#state = 'tunnel';
    this.#front.clock.delete(this);
    this.#wire.pause();
    this.#wire.release((client) => {
      this.#tunnel = new Tunnel({
        client,
        upstream,
        head,
        rest: this.#pending,
        clock: this.#front.clock,
        responseMs,
        idleMs: this.#entry.limits.tunnelIdleMs,
        onAnswer: (switched) => this.#transaction.onTunnelAnswer(switched),
        onEnd: (outcome) => {
          this.#transaction.onTunnelEnd(outcome);
          this.#onClose();
        },
      });
      this.#pending = null;
    });
  };

  #connectionLine(): string {
    if (!this.#keepAlive) return 'Connection: close\r\n';
    return this.#head.minor === 0 ? 'Connection: keep-alive\r\n' : '';
  }

  #refuse(failure: Failure, reason: string): void {
    this.#refuseStatus(statusOf(failure), reason, failure);
  }

  /** What is no request: answered, and the connection ended (RFC 9112 section 2.2). */
  #refuseStatus(status: number, reason: string, failure: Failure = 'bad_request'): void {
    this.#transaction.refuse(status, reason, failure, false);
  }

  onSettled(): void {
    if (!this.#keepAlive || this.#front.draining) return this.#linger();
    this.#state = 'idle';
    this.#deadline = this.#front.clock.recent + this.#entry.limits.idleMs;
    this.#wire.resume();
    // The next pipelined request, later: this may be running inside the reading of the one before.
    if (this.#pending !== null) queueMicrotask(() => this.#continuePipeline());
  }

  #continuePipeline(): void {
    const pending = this.#pending;
    if (this.#state !== 'idle' || pending === null) return;
    this.#pending = null;
    this.#readHeads(pending);
  }

  /** Says goodbye and reads on for a moment: closing with unread bytes would reset the connection under the answer. */
  #linger(): void {
    this.#pending = null;
    this.#state = 'lingering';
    this.#deadline = this.#front.clock.recent + LINGER_MS;
    this.#wire.end();
    this.#wire.resume();
  }

  // The connection.

  onDrain(): void {
    this.#stall.reset();
    this.#transaction.resumeResponse();
  }

  /** A client that says no more is not waited for, as nginx does it. */
  onEnd(): void {
    this.onGone();
  }

  onGone(): void {
    if (this.#state === 'closed') return;
    if (this.#transaction.active) this.#abandon('client_aborted');
    else if (this.#state !== 'lingering' || this.#wire.socket.destroyed) this.destroy();
  }

  #abandon(failure: Failure): void {
    this.#transaction.abandon(failure);
    this.destroy();
  }
}

function requestIdLine(id: string): string {
  return id === '' ? '' : `X-Request-Id: ${id}\r\n`;
}
