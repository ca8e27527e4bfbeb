/** One request of an HTTP/2 connection and its answer. A connection uses one again for another stream. */
import type { Entry, Front } from '../front.ts';
import { refuse, RequestHead } from '../http1/request_head.ts';
import type { ResponseHead } from '../http1/response_head.ts';
import { MinimumRate } from '../minimum_rate.ts';
import { Transaction } from '../transaction.ts';
import type { ClientStream } from '../transaction.ts';
import type { ClientInfo } from '../client_identity.ts';
import { WriteStall } from '../write_stall.ts';
import { INTERNAL_ERROR, MAX_FRAME, NO_ERROR, PROTOCOL_ERROR } from './frames.ts';
import type { FrameWriter } from './frames.ts';
import { ReceiveWindow } from './receive_window.ts';
import { parseHttp2Head, parseHttp2Trailers } from './request_head.ts';
import type { RequestField } from './request_head.ts';

/** What a client may send of a stream before a worker takes it. */
export const STREAM_WINDOW = 256 * 1024;

/** What the streams of a connection share. */
export interface ConnectionShare {
  readonly out: FrameWriter;
  /** What the client takes of DATA, on all streams together. */
  sendWindow: number;
  /** Little waits for the client. */
  readonly hasRoom: boolean;
  /** Hears of every piece of an answer before it is written. */
  onGiven(bytes: number): void;
  /** Bytes of the stream's DATA have been taken by who wanted them. */
  onConsumed(stream: Http2ClientStream, bytes: number): void;
  /** Something of the stream waits for room or a window. */
  wait(stream: Http2ClientStream): void;
  /** Ends the stream on the wire. */
  reset(stream: Http2ClientStream, code: number): void;
  /** Both sides have said all they have to say; to say so again does no harm. */
  onDone(stream: Http2ClientStream): void;
}

export class Http2ClientStream implements ClientStream {
  // RFC 8441 is not offered: browsers open a connection of HTTP/1.1 for a WebSocket.
  readonly tunnel = null;
  id = 0;
  sendWindow = 0;
  readonly window = new ReceiveWindow(STREAM_WINDOW);
  /** The client has said all it has to say. */
  remoteEnded = false;
  readonly #connection: ConnectionShare;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #head = new RequestHead();
  readonly #transaction: Transaction;
  readonly #stall = new WriteStall();
  readonly #readRate = new MinimumRate();
  readonly #writeRate = new MinimumRate();
  /** We have said all we have to say, and it is written. */
  #localEnded = false;
  /** By when more of the request's body must come; 0: none is waited for. */
  #deadline = 0;
  /** The body that has come. */
  #received = 0;
  #paused = false;
  /** What came of it while its worker took none. */
  #queue: Buffer[] = [];
  /** Its head is read, its request not yet begun. */
  #wantsBegin = false;
  /** All is answered, and the client had half a second to end its body. */
  #outstays = false;
  /** What completes a body with a length; until the stream ends it may still be cut or malformed (RFC 9113 section 8.1.1). */
  #lastPiece: Buffer | null = null;
  /** Field lines behind the request's body. */
  #requestTrailers = '';
  /** Of the answer, what waits for a window or room. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #endHeld = false;
  /** Field lines behind the answer. */
  #trailers = '';
  #takesTrailers = false;
  #cutCode = INTERNAL_ERROR;

  constructor(front: Front, entry: Entry, client: ClientInfo, connection: ConnectionShare) {
    this.#connection = connection;
    this.#front = front;
    this.#entry = entry;
    this.#transaction = new Transaction(this, front, client, this.#head);
  }

  /** Makes it ready for a stream. */
  open(id: number, sendWindow: number): void {
    this.id = id;
    this.sendWindow = sendWindow;
    this.window.reopen();
    this.remoteEnded = false;
    this.#wantsBegin = false;
    this.#outstays = false;
    this.#localEnded = false;
    this.#deadline = 0;
    this.#received = 0;
    this.#paused = false;
    this.#lastPiece = null;
    this.#requestTrailers = '';
    this.#endHeld = false;
    this.#trailers = '';
    this.#takesTrailers = false;
    this.#cutCode = INTERNAL_ERROR;
    this.#stall.reset();
  }

  /** Bytes of the answer that wait for the client. */
  get unsentBytes(): number {
    return this.#heldBytes;
  }

  // The request.

  onHead(fields: readonly RequestField[], tooLarge: boolean, endOfStream: boolean): void {
    this.remoteEnded = endOfStream;
    const { limits } = this.#entry;
    const status = tooLarge
      ? refuse(this.#head, 431, 'the request head is too large')
      : parseHttp2Head(fields, endOfStream, this.#head, limits);
    if (status !== 0) {
      const failure = status === 431 ? 'head_too_large' : 'bad_request';
      this.#transaction.refuse(status, this.#head.problem, failure, endOfStream);
    } else {
      this.#wantsBegin = true;
    }
  }

  /** Begins the request, unless it has begun or was given up before. */
  begin(): void {
    if (!this.#wantsBegin) return;
    this.#wantsBegin = false;
    if (!this.remoteEnded) this.#waitForBody();
    this.#transaction.begin(this.remoteEnded);
  }

  /** A piece of the body, not empty and lent for the call. */
  onData(piece: Buffer): void {
    this.begin();
    const { bodyKind, contentLength } = this.#head;
    this.#received += piece.length;
    const tooLong = contentLength >= 0 && this.#received > contentLength;
    if (tooLong || !this.#transaction.active) {
      this.#connection.onConsumed(this, piece.length);
      if (tooLong) this.#malformed('the body is longer than its length');
    } else if (bodyKind === 'length' && this.#received === contentLength) {
      this.#lastPiece = Buffer.from(piece);
    } else if (this.#paused) {
      this.#queue.push(Buffer.from(piece));
    } else {
      this.#waitForBody();
      this.#handOver(piece);
    }
  }

  /** Field lines behind the body: the stream ends with them. */
  onTrailers(fields: readonly RequestField[]): void {
    this.begin();
    const trailers = parseHttp2Trailers(fields);
    if (trailers === null) return this.#malformed('the trailers are invalid');
    this.#requestTrailers = trailers;
    this.onEnd();
  }

  onEnd(): void {
    this.begin();
    this.remoteEnded = true;
    this.#deadline = 0;
    if (this.#transaction.active) {
      const { contentLength } = this.#head;
      // RFC 9113 section 8.1.1.
      if (contentLength >= 0 && this.#received !== contentLength) {
        return this.#malformed('the body is shorter than its length');
      }
      if (!this.#paused) this.#handOverEnd();
    }
    this.#maybeDone();
  }

  /** The client wants no more of it, or is gone. */
  onReset(): void {
    this.#wantsBegin = false;
    this.#localEnded = true;
    this.remoteEnded = true;
    this.#forget();
    this.#transaction.abandon('client_aborted');
    this.#connection.onDone(this);
  }

  /** Returns whether it was given up because its client takes nothing of it. */
  sweep(now: number): boolean {
    const { writeIdleMs, minRate } = this.#entry.limits;
    const transaction = this.#transaction;
    if (this.#localEnded && !transaction.active) {
      // RFC 9113 section 8.1: the rest of the body need not be sent. Right behind the answer this would have some clients
      // (curl 7.88) throw the answer away.
      if (this.#outstays) {
        this.remoteEnded = true;
        this.#connection.reset(this, NO_ERROR);
      }
      this.#outstays = true;
      return false;
    }
    const waiting = this.#heldBytes;
    if (
      this.#stall.check(waiting, now, writeIdleMs) ||
      this.#readRate.isTooSlow(transaction.bytesOut - waiting, waiting > 0, now, minRate)
    ) {
      transaction.abandon('client_aborted');
      this.cut();
      return true;
    }
    if (this.#writeRate.isTooSlow(transaction.bytesIn, this.#deadline !== 0, now, minRate)) {
      transaction.fail('body_timeout', 'the request body came too slowly');
    } else if (this.#deadline !== 0 && now >= this.#deadline) {
      this.#deadline = 0;
      transaction.fail('body_timeout', 'the request body stopped coming');
    }
    return false;
  }

  pauseRequest(): void {
    this.#paused = true;
    this.#deadline = 0;
  }

  resumeRequest(): void {
    if (!this.#paused) return;
    this.#paused = false;
    while (this.#queue.length > 0 && !this.#isPaused()) {
      const piece = this.#queue.shift();
      if (piece !== undefined) this.#handOver(piece);
      if (!this.#transaction.active) return;
    }
    if (this.#isPaused()) return;
    if (this.remoteEnded) this.#handOverEnd();
    else this.#waitForBody();
  }

  // Asked through a function because it changes behind the compiler's back.
  #isPaused(): boolean {
    return this.#paused;
  }

  #handOver(piece: Buffer): void {
    const { length } = piece;
    this.#transaction.body(piece);
    this.#connection.onConsumed(this, length);
  }

  #handOverEnd(): void {
    const last = this.#lastPiece;
    this.#lastPiece = null;
    if (last !== null) {
      this.#connection.onConsumed(this, last.length);
      if (!this.#transaction.body(last)) return;
    }
    this.#transaction.bodyEnd(this.#requestTrailers);
  }

  #malformed(reason: string): void {
    this.#cutCode = PROTOCOL_ERROR;
    this.#transaction.fail('bad_request', reason);
  }

  #waitForBody(): void {
    this.#deadline = this.#front.clock.recent + this.#entry.limits.bodyIdleMs;
  }

  // The answer.

  sendContinue(): void {
    this.#connection.out.head(this.id, 100, -1, '', false);
    this.#connection.out.schedule();
  }

  sendHead(head: ResponseHead, fields: string, requestId: string): void {
    const { bodyKind, contentLength } = head;
    const length = bodyKind === 'length' ? contentLength : -1;
    this.#takesTrailers = head.trailers === 'announced' || this.#head.acceptsTrailers;
    this.#localEnded = bodyKind === 'none' || length === 0;
    this.#connection.out.head(this.id, head.status, length, fields, this.#localEnded, requestId);
  }

  sendData(chunk: Buffer): void {
    this.#connection.onGiven(chunk.length);
    let from = 0;
    if (this.#heldBytes === 0) {
      while (from < chunk.length) {
        const written = this.#write(chunk, from);
        if (written === 0) break;
        from += written;
      }
    }
    if (from < chunk.length) this.#hold(chunk.subarray(from));
  }

  flush(): void {
    this.#connection.out.schedule();
    if (this.#heldBytes > 0 || !this.#connection.hasRoom) {
      this.#connection.wait(this);
      this.#transaction.pauseResponse();
    }
  }

  sendEnd(trailers: string): void {
    if (this.#localEnded) return this.#connection.out.schedule();
    this.#trailers = this.#takesTrailers ? trailers : '';
    if (this.#heldBytes > 0) {
      this.#endHeld = true;
      this.#connection.wait(this);
    } else {
      this.#writeEnd();
    }
    this.#connection.out.schedule();
  }

  sendAnswer(status: number, fields: string, body: string, requestId: string): void {
    const bytes = Buffer.from(body);
    const empty = bytes.length === 0 || this.#head.method === 'HEAD';
    this.#localEnded = empty;
    this.#connection.out.head(this.id, status, bytes.length, fields, empty, requestId);
    if (!empty) {
      this.sendData(bytes);
      this.sendEnd('');
    }
    this.#connection.out.schedule();
  }

  /** Room or a window has opened: goes on with one frame of what waits. Returns whether more does. */
  goOn(): boolean {
    const [first] = this.#held;
    if (first !== undefined) {
      const written = this.#write(first, 0);
      if (written === 0) return true;
      this.#stall.reset();
      this.#heldBytes -= written;
      if (written === first.length) this.#held.shift();
      else this.#held[0] = first.subarray(written);
      if (this.#heldBytes > 0) return true;
    }
    if (this.#endHeld) this.#writeEnd();
    else this.#transaction.resumeResponse();
    return false;
  }

  endTunnel(): void {}

  cut(): void {
    if (this.#localEnded && this.remoteEnded) return this.#maybeDone();
    this.#localEnded = true;
    this.remoteEnded = true;
    this.#forget();
    this.#connection.reset(this, this.#cutCode);
  }

  onSettled(): void {
    this.#deadline = 0;
    this.#maybeDone();
  }

  #write(bytes: Buffer, from: number): number {
    const connection = this.#connection;
    if (!connection.hasRoom) return 0;
    const length = Math.min(bytes.length - from, MAX_FRAME, this.sendWindow, connection.sendWindow);
    if (length <= 0) return 0;
    this.sendWindow -= length;
    connection.sendWindow -= length;
    connection.out.data(this.id, bytes, from, from + length);
    return length;
  }

  #hold(bytes: Buffer): void {
    this.#held.push(Buffer.from(bytes));
    this.#heldBytes += bytes.length;
  }

  #writeEnd(): void {
    const { out } = this.#connection;
    if (this.#trailers === '') out.end(this.id);
    else out.trailers(this.id, this.#trailers);
    this.#localEnded = true;
    this.#endHeld = false;
    this.#maybeDone();
  }

  #maybeDone(): void {
    if (!this.#localEnded || this.#transaction.active) return;
    this.#forget();
    if (this.remoteEnded) this.#connection.onDone(this);
  }

  /** What is kept for nobody any more; of what the client sent it is told, as if it had been taken. */
  #forget(): void {
    let unread = this.#lastPiece?.length ?? 0;
    for (const piece of this.#queue) unread += piece.length;
    this.#lastPiece = null;
    if (this.#queue.length > 0) this.#queue = [];
    if (this.#held.length > 0) this.#held = [];
    this.#heldBytes = 0;
    if (unread > 0) this.#connection.onConsumed(this, unread);
  }
}
