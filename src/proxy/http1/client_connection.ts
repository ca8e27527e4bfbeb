/**
 * One HTTP/1.1 connection of a client: reads requests strictly, one at a time, and writes answers. Nothing is allocated
 * per request but the strings that are sent and logged.
 */
import type net from 'node:net';
import type { Swept } from '../clock.ts';
import { Exchange } from '../exchange.ts';
import type { ExchangeClient } from '../exchange.ts';
import { reasonPhrase, statusOf } from '../failure.ts';
import type { Failure } from '../failure.ts';
import type { Entry, Front } from '../front.ts';
import type { Decision } from '../router.ts';
import { BODY_INVALID, BodyReader } from './body_reader.ts';
import type { BodySink } from './body_reader.ts';
import { findHeadEnd } from './head_end.ts';
import { Outbox } from './outbox.ts';
import { parseRequestHead, RequestHead } from './request_head.ts';
import type { ResponseHead } from './response_head.ts';

/** How long, and how much, is still read after an answer that ends the connection, so that the client gets to read it. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 1024 * 1024;

/**
 * idle: between requests. head: part of a head has come. body: the request's body is being read. waiting: the request is
 * complete, its answer is not. lingering: everything is said, what still comes is thrown away.
 */
type State = 'idle' | 'head' | 'body' | 'waiting' | 'lingering' | 'closed';

export interface ClientInfo {
  readonly remote: string;
  readonly tls: string | null;
}

export class ClientConnection implements ExchangeClient, BodySink, Swept {
  readonly #socket: net.Socket;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #info: ClientInfo;
  /** What the worker is told of this client, the same for each of its requests. */
  readonly #forwarded: string;
  readonly #scheme: 'http' | 'https';
  readonly #exchange: Exchange;
  readonly #out: Outbox;
  readonly #head = new RequestHead();
  readonly #onClose: () => void;
  #state: State = 'idle';
  #pending: Buffer | null = null;
  #deadline: number;
  readonly #body = new BodyReader();
  #bodyBytes = 0;
  #maxBodySize = 0;
  #keepAlive = true;
  #requestComplete = true;
  #responseStarted = false;
  /** How the response's body is framed towards the client. */
  #framing: 'none' | 'identity' | 'chunked' = 'none';
  #stalledSince = 0;
  #stalledLength = 0;
  #lingered = 0;
  // For the access log.
  #startedAt = 0;
  #requestId = '';
  #status = 0;
  #bytesOut = 0;
  #site: string | null = null;
  #service: string | null = null;
  #worker: string | null = null;

  constructor(socket: net.Socket, front: Front, entry: Entry, info: ClientInfo, onClose: () => void) {
    this.#socket = socket;
    this.#front = front;
    this.#entry = entry;
    this.#info = info;
    this.#onClose = onClose;
    this.#scheme = info.tls === null ? 'http' : 'https';
    this.#forwarded = `X-Forwarded-For: ${info.remote}\r\nX-Forwarded-Proto: ${this.#scheme}\r\n`;
    this.#exchange = new Exchange(this, front);
    this.#out = new Outbox(socket);
    // A connection that says nothing gets no more time than a head may take.
    this.#deadline = front.clock.now() + entry.limits.headersMs;
    socket
      .on('data', (chunk: Buffer) => this.#onData(chunk))
      .on('drain', () => this.#onDrain())
      .on('end', () => this.#onGone())
      .on('error', () => this.#onGone())
      .on('close', () => this.#onGone());
    front.clock.add(this);
  }

  /** Ends the connection as soon as no request is on it. */
  drain(): void {
    this.#keepAlive = false;
    if (this.#state === 'idle') this.destroy();
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#front.clock.delete(this);
    this.#socket.destroy();
    this.#onClose();
  }

  sweep(now: number): void {
    if (this.#writeStalled(now)) {
      this.#abandon('client_aborted');
    } else if (this.#deadline !== 0 && now >= this.#deadline) {
      if (this.#state === 'head') this.#refuse('header_timeout', 'the request head took too long');
      else if (this.#state === 'body') this.#bodyTimeout();
      else this.destroy();
    }
  }

  // The request.

  #onData(chunk: Buffer): void {
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
    this.#pending = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    if (this.#pending.length >= this.#entry.limits.maxHeaderSize) this.#socket.pause();
  }

  #readHeads(chunk: Buffer): void {
    let data = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = null;
    for (;;) {
      // RFC 9112 section 2.2: an empty line before the request line is to be ignored.
      let start = 0;
      while (data[start] === 0x0d && data[start + 1] === 0x0a && start < 4) start += 2;
      if (start === data.length) return;
      const { maxHeaderSize, headersMs } = this.#entry.limits;
      const end = findHeadEnd(data, start);
      if (end < 0) {
        if (this.#state === 'idle') {
          this.#state = 'head';
          this.#deadline = this.#front.clock.now() + headersMs;
        }
        if (end !== -1) return this.#refuseStatus(400, 'a line of the head does not end in CRLF');
        if (data.length - start > maxHeaderSize) return this.#refuse('head_too_large', 'the request head is too large');
        this.#pending = start === 0 ? data : data.subarray(start);
        return;
      }
      if (end - start > maxHeaderSize) return this.#refuse('head_too_large', 'the request head is too large');
      this.#startedAt = this.#front.clock.now();
      const status = parseRequestHead(data.toString('latin1', start, end), this.#head);
      if (status !== 0) return this.#refuseStatus(status, this.#head.problem);
      if (this.#head.scheme !== null && this.#head.scheme !== this.#scheme) {
        return this.#refuseStatus(400, "the request target's scheme is not the connection's");
      }
      let at = end;
      this.#beginRequest();
      if (this.#isReading()) at = this.#readBody(data, at);
      if (at < 0 || this.#isOver()) return;
      data = data.subarray(at);
      if (data.length === 0) return;
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
    const front = this.#front;
    front.requests++;
    front.inFlight++;
    this.#requestId = front.nextRequestId();
    this.#keepAlive = head.keepAlive && !front.draining;
    this.#responseStarted = false;
    this.#bodyBytes = 0;
    this.#bytesOut = 0;
    this.#body.begin(head.bodyKind, head.contentLength);
    this.#requestComplete = this.#body.complete;
    this.#state = this.#requestComplete ? 'waiting' : 'body';
    this.#deadline = this.#requestComplete ? 0 : this.#startedAt + this.#entry.limits.bodyIdleMs;
    const decision = front.router({
      tls: this.#info.tls !== null,
      host: head.host,
      target: head.target,
      path: head.path,
    });
    this.#follow(decision);
  }

  #follow(decision: Decision): void {
    const head = this.#head;
    if (decision.kind === 'challenge') {
      return this.#answer(200, decision.body, 'Content-Type: text/plain\r\n');
    }
    this.#site = decision.site?.name ?? null;
    if (decision.kind === 'redirect') {
      return this.#answer(decision.status, '', `Location: ${decision.location}\r\n`);
    }
    if (decision.kind === 'failure') return this.#fail(decision.failure, decision.reason);
    this.#maxBodySize = decision.site.maxBodySize;
    if (this.#maxBodySize > 0 && head.bodyKind === 'length' && head.contentLength > this.#maxBodySize) {
      return this.#fail('body_too_large', `the body is larger than ${this.#maxBodySize} bytes`);
    }
    const service = this.#front.services.get(decision.service);
    this.#service = decision.service;
    if (service === undefined) return this.#fail('no_worker', 'the service is not known here');
    if (service.targets.length === 0) {
      return this.#fail('no_worker', service.entry.unavailable ?? 'no worker is ready');
    }
    const framing = this.#requestComplete ? 'none' : head.bodyKind;
    this.#exchange.begin(service, head.method, this.#upstreamHead(decision.target), framing);
    if (framing !== 'none' && head.expectContinue && this.#state === 'body') {
      // RFC 9110 section 10.1.1: the decision to take the body is made; the worker never sees the expectation.
      this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
    }
  }

  #upstreamHead(target: string): string {
    const head = this.#head;
    let out = `${head.method} ${target} HTTP/1.1\r\nHost: ${head.authority}\r\n`;
    out = head.appendForwarded(out);
    out += this.#forwarded;
    out += `X-Forwarded-Host: ${head.authority}\r\nX-Request-Id: ${this.#requestId}\r\n`;
    // Whatever the method, a body is framed: unframed bytes would be the worker's next request.
    if (head.bodyKind === 'chunked') return `${out}Transfer-Encoding: chunked\r\n\r\n`;
    if (head.bodyKind === 'length') return `${out}Content-Length: ${head.contentLength}\r\n\r\n`;
    return `${out}\r\n`;
  }

  /** Hands on what belongs to the body; returns where it stopped, or -1 when the request is over. */
  #readBody(chunk: Buffer, at: number): number {
    this.#deadline = this.#front.clock.now() + this.#entry.limits.bodyIdleMs;
    const end = this.#body.read(chunk, at, this);
    if (end === BODY_INVALID) this.#failBody('bad_request', 'the chunked encoding is invalid');
    if (end < 0) return -1;
    if (this.#body.complete) this.#bodyComplete();
    return end;
  }

  onBody(piece: Buffer): boolean {
    this.#bodyBytes += piece.length;
    if (this.#maxBodySize > 0 && this.#bodyBytes > this.#maxBodySize) {
      this.#failBody('body_too_large', `the body is larger than ${this.#maxBodySize} bytes`);
      return false;
    }
    if (this.#exchange.active && !this.#exchange.writeBody(piece)) {
      this.#socket.pause();
      this.#deadline = 0;
    }
    return true;
  }

  #bodyComplete(): void {
    this.#requestComplete = true;
    if (this.#state === 'body') this.#state = 'waiting';
    this.#deadline = 0;
    if (this.#exchange.active) this.#exchange.endBody();
  }

  #bodyTimeout(): void {
    this.#failBody('body_timeout', 'the request body stopped coming');
  }

  #failBody(failure: Failure, reason: string): void {
    if (this.#exchange.active) {
      this.#noteWorker();
      this.#exchange.cancel();
    }
    if (this.#responseStarted) this.#abandon(failure);
    else this.#fail(failure, reason);
  }

  onRequestWritable(): void {
    if (this.#state !== 'body') return;
    this.#deadline = this.#front.clock.now() + this.#entry.limits.bodyIdleMs;
    this.#socket.resume();
  }

  // The response.

  onResponseHead(head: ResponseHead): void {
    this.#noteWorker();
    this.#responseStarted = true;
    this.#status = head.status;
    const http11 = this.#head.minor === 1;
    // The rest of a body that may never come must not be taken for the next request.
    if (!this.#requestComplete) this.#keepAlive = false;
    this.#framing = head.bodyKind === 'none' ? 'none' : head.bodyKind === 'length' || !http11 ? 'identity' : 'chunked';
    if (this.#framing === 'identity' && head.bodyKind !== 'length') this.#keepAlive = false;
    let out = `HTTP/1.1 ${head.status} ${head.reason}\r\n`;
    out = head.appendForwarded(out);
    if (head.bodyKind === 'length') out += `Content-Length: ${head.contentLength}\r\n`;
    else if (this.#framing === 'chunked') out += 'Transfer-Encoding: chunked\r\n';
    out += this.#connectionLine();
    this.#out.push(out + '\r\n');
  }

  onResponseData(chunk: Buffer): boolean {
    this.#bytesOut += chunk.length;
    if (this.#framing === 'chunked') this.#out.pushChunk(chunk);
    else this.#out.pushBytes(chunk);
    return this.#out.hasRoom;
  }

  onResponseEnd(): void {
    if (this.#framing === 'chunked') this.#out.push('0\r\n\r\n');
    this.#out.flush();
    this.#endRequest(null);
  }

  onResponseBatch(): void {
    this.#out.flush();
  }

  onExchangeFailure(failure: Failure, error?: Error): void {
    this.#noteWorker();
    if (this.#responseStarted) {
      // An end would make the truncated answer look whole.
      this.#out.flush();
      this.#abandon('upstream_cut');
    } else {
      this.#fail(failure, error === undefined ? '' : 'the worker did not answer as HTTP asks');
    }
  }

  #connectionLine(): string {
    if (!this.#keepAlive) return 'Connection: close\r\n';
    return this.#head.minor === 0 ? 'Connection: keep-alive\r\n' : '';
  }

  #fail(failure: Failure, reason: string): void {
    const status = statusOf(failure);
    const retry = status === 503 ? 'Retry-After: 5\r\n' : '';
    if (!this.#requestComplete) this.#keepAlive = false;
    this.#answer(status, errorBody(status, reason, this.#requestId), `Content-Type: text/plain\r\n${retry}`, failure);
  }

  /** An answer of our own, whole. */
  #answer(status: number, body: string, headers: string, failure: Failure | null = null): void {
    if (!this.#requestComplete) this.#keepAlive = false;
    this.#status = status;
    const bytes = Buffer.byteLength(body);
    const head =
      `HTTP/1.1 ${status} ${reasonPhrase(status)}\r\nDate: ${new Date().toUTCString()}\r\n${headers}` +
      `Content-Length: ${bytes}\r\n${this.#connectionLine()}\r\n`;
    this.#socket.write(this.#head.method === 'HEAD' ? head : head + body, 'utf8');
    this.#bytesOut = bytes;
    this.#endRequest(failure);
  }

  #refuse(failure: Failure, reason: string): void {
    this.#refuseStatus(statusOf(failure), reason, failure);
  }

  /** A request that never became one: answered, logged, and the connection ended (RFC 9112 section 2.2). */
  #refuseStatus(status: number, reason: string, failure: Failure = 'bad_request'): void {
    if (this.#startedAt === 0) this.#startedAt = this.#front.clock.now();
    this.#front.requests++;
    this.#front.inFlight++;
    this.#requestId = this.#front.nextRequestId();
    this.#head.forget();
    this.#requestComplete = false;
    this.#answer(status, errorBody(status, reason, this.#requestId), 'Content-Type: text/plain\r\n', failure);
  }

  #noteWorker(): void {
    this.#worker = this.#exchange.worker;
  }

  #endRequest(failure: Failure | null): void {
    if (failure !== null || this.#front.accessLog !== null) this.#log(failure);
    this.#front.inFlight--;
    this.#site = null;
    this.#service = null;
    this.#worker = null;
    this.#startedAt = 0;
    if (!this.#keepAlive || this.#front.draining) return this.#linger();
    this.#state = 'idle';
    this.#deadline = this.#front.clock.now() + this.#entry.limits.idleMs;
    this.#socket.resume();
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
    this.#deadline = this.#front.clock.now() + LINGER_MS;
    this.#socket.end();
    this.#socket.resume();
  }

  #log(failure: Failure | null): void {
    const head = this.#head;
    this.#front.accessLog?.write({
      remote: this.#info.remote,
      method: head.method,
      host: head.authority,
      target: head.target,
      status: this.#status,
      durationMs: this.#front.clock.now() - this.#startedAt,
      bytesIn: this.#bodyBytes,
      bytesOut: this.#bytesOut,
      requestId: this.#requestId,
      site: this.#site,
      service: this.#service,
      worker: this.#worker,
      attempts: this.#service === null ? 0 : this.#exchange.attempts,
      tls: this.#info.tls,
      userAgent: head.userAgent,
      failure,
    });
  }

  // The connection.

  #onDrain(): void {
    this.#stalledSince = 0;
    if (this.#exchange.active) this.#exchange.resumeResponse();
  }

  #onGone(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'body' || this.#state === 'waiting') this.#abandon('client_aborted');
    else if (this.#state !== 'lingering' || this.#socket.destroyed) this.destroy();
  }

  /** Ends a request that cannot be answered (any more), and the connection with it. */
  #abandon(failure: Failure): void {
    if (this.#exchange.active) {
      this.#noteWorker();
      this.#exchange.cancel();
    }
    if (this.#state === 'body' || this.#state === 'waiting') {
      if (!this.#responseStarted) this.#status = statusOf(failure);
      this.#log(failure);
      this.#front.inFlight--;
    }
    this.destroy();
  }

  /** A client that takes nothing of what is written for it, for `writeIdleMs`. */
  #writeStalled(now: number): boolean {
    const length = this.#socket.writableLength;
    if (length === 0 || length !== this.#stalledLength || this.#stalledSince === 0) {
      this.#stalledLength = length;
      this.#stalledSince = length === 0 ? 0 : now;
      return false;
    }
    return now - this.#stalledSince >= this.#entry.limits.writeIdleMs;
  }
}

function errorBody(status: number, reason: string, requestId: string): string {
  return `${status} ${reasonPhrase(status)}\n${reason === '' ? '' : `${reason}\n`}request ${requestId}\n`;
}
