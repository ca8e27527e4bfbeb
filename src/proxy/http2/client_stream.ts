/** One request of an HTTP/2 connection and its answer. */
import { constants } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import type { Entry, Front } from '../front.ts';
import { RequestHead } from '../http1/request_head.ts';
import type { ResponseHead } from '../http1/response_head.ts';
import { MinimumRate } from '../minimum_rate.ts';
import { Transaction } from '../transaction.ts';
import type { ClientStream } from '../transaction.ts';
import type { ClientInfo } from '../client_identity.ts';
import { WriteStall } from '../write_stall.ts';
import { parseHttp2Head, parseHttp2Trailers } from './request_head.ts';
import { appendHttp2Fields } from './response_fields.ts';

/** What the streams of a connection share. */
export interface ConnectionOutput {
  /** Little waits for the client. */
  readonly hasRoom: boolean;
  /** Hears of every piece of an answer before it is written. */
  onGiven(bytes: number): void;
}

export class Http2ClientStream implements ClientStream {
  // RFC 8441 is not offered: browsers open a connection of HTTP/1.1 for a WebSocket.
  readonly tunnel = null;
  readonly #stream: ServerHttp2Stream;
  readonly #connection: ConnectionOutput;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #head = new RequestHead();
  readonly #transaction: Transaction;
  readonly #stall = new WriteStall();
  readonly #readRate = new MinimumRate();
  readonly #writeRate = new MinimumRate();
  /** By when more of the request's body must come; 0: none is waited for. */
  #deadline = 0;
  /** A piece of the answer that may be its last: written with the end, it needs no frame of its own. */
  #held: Buffer | null = null;
  /** What completes a body with a length; until the stream ends it may still be cut or malformed (RFC 9113 section 8.1.1). */
  #lastPiece: Buffer | null = null;
  /** Field lines behind the answer. */
  #trailers = '';
  /** Field lines behind the request's body. */
  #requestTrailers = '';

  constructor(stream: ServerHttp2Stream, front: Front, entry: Entry, client: ClientInfo, connection: ConnectionOutput) {
    this.#stream = stream;
    this.#connection = connection;
    this.#front = front;
    this.#entry = entry;
    this.#transaction = new Transaction(this, front, client, this.#head);
    stream
      .on('error', () => {})
      // Before the readable side ends, as it does even for a body that was cut: the worker must not take it for whole.
      .on('aborted', () => this.#transaction.abandon('client_aborted'))
      .on('close', () => this.#transaction.abandon('client_aborted'))
      .on('drain', this.#onRoom);
  }

  /** Bytes of the answer that wait for the client. */
  get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  begin(raw: readonly string[], endOfStream: boolean): void {
    const { limits } = this.#entry;
    const status = parseHttp2Head(raw, endOfStream, this.#head, limits.maxHeaderSize);
    if (status !== 0) {
      return this.#transaction.refuse(
        status,
        this.#head.problem,
        status === 431 ? 'head_too_large' : 'bad_request',
        endOfStream,
      );
    }
    if (endOfStream) {
      this.#transaction.begin(true);
      this.#stream.resume();
      return;
    }
    this.#waitForBody();
    this.#transaction.begin(false);
    this.#stream
      .on('data', (chunk: Buffer) => this.#onData(chunk))
      .on('trailers', (_fields, _flags, trailers) => this.#onTrailers(trailers))
      .on('end', () => {
        this.#deadline = 0;
        this.#onBodyEnd();
      });
  }

  sweep(now: number): void {
    const { writeIdleMs, minRate } = this.#entry.limits;
    const transaction = this.#transaction;
    const waiting = this.#stream.writableLength;
    if (
      this.#stall.check(waiting, now, writeIdleMs) ||
      this.#readRate.isTooSlow(transaction.bytesOut - waiting, waiting > 0, now, minRate)
    ) {
      transaction.abandon('client_aborted');
      this.cut();
    } else if (this.#writeRate.isTooSlow(transaction.bytesIn, this.#deadline !== 0, now, minRate)) {
      transaction.fail('body_timeout', 'the request body came too slowly');
    } else if (this.#deadline !== 0 && now >= this.#deadline) {
      this.#deadline = 0;
      this.#transaction.fail('body_timeout', 'the request body stopped coming');
    }
  }

  sendContinue(): void {
    this.#stream.additionalHeaders({ ':status': 100 });
  }

  sendHead(head: ResponseHead, fields: string): void {
    const out = [':status', String(head.status)];
    appendHttp2Fields(out, fields);
    if (head.bodyKind === 'length') out.push('content-length', String(head.contentLength));
    const empty = head.bodyKind === 'none' || (head.bodyKind === 'length' && head.contentLength === 0);
    // To wait for trailers costs an event and a frame, so that there must be a reason to expect some.
    const trailers = head.trailers === 'announced' || (head.trailers === 'possible' && this.#head.acceptsTrailers);
    this.#respond(out, empty, trailers && !empty);
  }

  sendData(chunk: Buffer): void {
    this.flush();
    this.#held = Buffer.from(chunk);
  }

  flush(): void {
    const held = this.#held;
    if (held === null) return;
    this.#held = null;
    // Where much waits already, a piece at a time must do.
    const room = this.#connection.hasRoom;
    this.#connection.onGiven(held.length);
    if (!room) this.#stream.write(held, this.#onRoom);
    else if (this.#stream.write(held)) return;
    this.#transaction.pauseResponse();
  }

  sendEnd(trailers: string): void {
    const held = this.#held;
    this.#held = null;
    this.#trailers = trailers;
    if (this.#stream.writableEnded) return;
    if (held === null) return void this.#stream.end();
    this.#connection.onGiven(held.length);
    this.#stream.end(held);
  }

  sendAnswer(status: number, fields: string, body: string): void {
    const out = [':status', String(status)];
    appendHttp2Fields(out, fields);
    out.push('content-length', String(Buffer.byteLength(body)));
    const empty = body === '' || this.#head.method === 'HEAD';
    this.#respond(out, empty);
    if (!empty) this.#stream.end(body);
  }

  pauseRequest(): void {
    this.#stream.pause();
    this.#deadline = 0;
  }

  resumeRequest(): void {
    this.#waitForBody();
    this.#stream.resume();
  }

  cut(): void {
    if (!this.#stream.destroyed) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  onSettled(): void {
    this.#deadline = 0;
    // RFC 9113 section 8.1: the rest of the body need not be sent. It goes out behind the answer.
    if (!this.#transaction.requestComplete) {
      this.#stream.resume();
      this.#stream.close(constants.NGHTTP2_NO_ERROR);
    }
  }

  #respond(fields: readonly string[], endStream: boolean, waitForTrailers = false): void {
    if (this.#stream.destroyed || this.#stream.closed) return;
    this.#stream.respond(fields, { endStream, waitForTrailers });
    if (waitForTrailers) this.#stream.on('wantTrailers', () => this.#sendTrailers());
  }

  #sendTrailers(): void {
    const flat: string[] = [];
    appendHttp2Fields(flat, this.#trailers);
    const trailers: Record<string, string> = {};
    for (let i = 0; i + 1 < flat.length; i += 2) {
      const name = flat[i] ?? '';
      const before = trailers[name];
      // node:http2 throws at a list for what it takes for a single value.
      trailers[name] = before === undefined ? (flat[i + 1] ?? '') : `${before}, ${flat[i + 1] ?? ''}`;
    }
    this.#stream.sendTrailers(trailers);
  }

  #waitForBody(): void {
    this.#deadline = this.#front.clock.now() + this.#entry.limits.bodyIdleMs;
  }

  #onData(chunk: Buffer): void {
    if (!this.#transaction.active) return;
    this.#waitForBody();
    const head = this.#head;
    if (head.bodyKind === 'length' && this.#transaction.bytesIn + chunk.length === head.contentLength) {
      this.#lastPiece = chunk;
    } else {
      this.#transaction.body(chunk);
    }
  }

  #onBodyEnd(): void {
    const transaction = this.#transaction;
    const last = this.#lastPiece;
    this.#lastPiece = null;
    if (!transaction.active || this.#stream.aborted) return;
    if (last !== null && !transaction.body(last)) return;
    transaction.bodyEnd(this.#requestTrailers);
  }

  /** Before the end of the stream, whose last frame they are. */
  #onTrailers(raw: readonly string[]): void {
    if (!this.#transaction.active) return;
    const trailers = parseHttp2Trailers(raw);
    if (trailers === null) this.#transaction.fail('bad_request', 'the trailers are invalid');
    else this.#requestTrailers = trailers;
  }

  readonly #onRoom = (): void => {
    this.#stall.reset();
    this.#transaction.resumeResponse();
  };
}
