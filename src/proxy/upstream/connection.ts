/**
 * One connection to a worker: at most one request on it at a time, its responses read strictly. It never decides
 * anything about the request; its exchange does.
 */
import net from 'node:net';
import { BODY_INVALID, BodyReader } from '../http1/body_reader.ts';
import type { BodySink } from '../http1/body_reader.ts';
import { findHeadEnd, glance, headLength } from '../http1/head_end.ts';
import { Outbox } from '../http1/outbox.ts';
import { parseResponseHead, ResponseHead } from '../http1/response_head.ts';
import type { Clock, Swept } from '../clock.ts';
import type { Failure } from '../failure.ts';
import { Wire } from '../wire.ts';
import type { WireListener } from '../wire.ts';
import type { Address } from '../../snapshot.ts';
import type { Channel, ChannelListener, ChannelTimeouts } from './channel.ts';
import { idleMsOf } from './keep_alive.ts';
import type { UpstreamRequest } from './request.ts';

/** nginx's default is 4–8 KiB, HAProxy's 16 KiB; cookies and CSP headers of real applications need more than the first. */
const MAX_RESPONSE_HEAD = 64 * 1024;
const LAST_CHUNK = '0\r\n\r\n';

/** Where connections lead, and come back to when nothing is left to do on them. */
export interface Origin {
  readonly address: Address;
  /** Most recently used last: the one least likely to have been closed by the worker is taken first. */
  readonly idle: UpstreamConnection[];
  /** No connection comes back any more. */
  readonly removed: boolean;
}

type State = 'connecting' | 'idle' | 'head' | 'body' | 'closed';

export class UpstreamConnection implements Channel, BodySink, Swept, WireListener {
  readonly #origin: Origin;
  readonly #wire: Wire;
  readonly #out: Outbox;
  sent = false;
  reused = false;
  /** While idle: until when it may be used. */
  usableUntil = 0;
  #state: State = 'connecting';
  #listener: ChannelListener | null;
  #pending: Buffer | null = null;
  readonly #head = new ResponseHead();
  readonly #body = new BodyReader();
  #reusable = true;
  #requestComplete = false;
  #framing: UpstreamRequest['framing'] = 'none';
  /** Time by the sweep's clock at which waiting ends; 0: none. */
  #deadline = 0;
  readonly #clock: Clock;
  readonly #timeouts: ChannelTimeouts;
  /** What the present answer's body may pause; 0: for ever. */
  #idleMs = 0;

  constructor(origin: Origin, listener: ChannelListener, clock: Clock, timeouts: ChannelTimeouts) {
    this.#origin = origin;
    this.#listener = listener;
    this.#clock = clock;
    this.#timeouts = timeouts;
    this.#deadline = clock.now() + timeouts.connectTimeoutMs;
    const { address } = origin;
    const socket =
      'path' in address
        ? net.connect({ path: address.path })
        : net.connect({ host: address.host, port: address.port, noDelay: true, autoSelectFamily: false });
    // With a head comes little of its body: until then nobody can say that the client takes none.
    this.#wire = new Wire(socket, this, true);
    this.#out = new Outbox(this.#wire);
    clock.add(this);
  }

  /** Takes an idle connection into use. */
  attach(listener: ChannelListener): void {
    this.#listener = listener;
    this.#expectResponse();
  }

  /** Writes a request's head and what there is of its body; `ended`: that is all of it. */
  start(request: UpstreamRequest, body: readonly Buffer[], ended: boolean): void {
    this.#framing = request.framing;
    this.sent = true;
    const out = this.#out;
    out.push(request.serialize());
    for (const chunk of body) this.#pushBody(chunk);
    if (ended) this.endBody(request.trailers);
    else out.flush();
  }

  /** Returns false when no more should be written before `onDrain`. */
  writeBody(chunk: Buffer): boolean {
    this.#pushBody(chunk);
    this.#out.flush();
    return this.#wire.hasRoom;
  }

  #pushBody(chunk: Buffer): void {
    if (this.#framing === 'chunked') this.#out.pushChunk(chunk);
    else this.#out.pushBytes(chunk);
  }

  /** The whole request has been written: from now on the worker owes an answer, and the connection may be reused after it. */
  endBody(trailers: string): void {
    // Behind a body with a length nothing has a place.
    if (this.#framing === 'chunked') this.#out.push(trailers === '' ? LAST_CHUNK : `0\r\n${trailers}\r\n`);
    this.#out.flush();
    this.#requestComplete = true;
    if (this.#state === 'head') this.#deadline = this.#clock.recent + this.#timeouts.responseTimeoutMs;
  }

  /** The client takes no more of the answer for now. */
  pause(): void {
    this.#wire.pause();
    this.#deadline = 0;
  }

  resume(): void {
    this.#wire.resume();
    if (this.#state === 'body') this.#waitForBody();
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#listener = null;
    this.#clock.delete(this);
    this.#wire.destroy();
  }

  sweep(now: number): void {
    if (this.#deadline === 0 || now < this.#deadline) return;
    if (this.#state === 'connecting') this.#fail('connect_timeout');
    else this.#fail(this.#state === 'body' ? 'upstream_cut' : 'upstream_timeout');
  }

  onConnect(): void {
    if (this.#state !== 'connecting') return;
    this.#expectResponse();
    this.#listener?.onConnected();
  }

  #expectResponse(): void {
    this.#state = 'head';
    this.#reusable = true;
    this.#requestComplete = false;
    // Until the request is written whole, the client's clock rules.
    this.#deadline = 0;
  }

  onDrain(): void {
    this.#listener?.onDrain();
  }

  onBytes(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'head') {
        const data: Buffer = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk.subarray(at)]);
        if (this.#pending !== null) {
          chunk = data;
          at = 0;
          this.#pending = null;
        }
        const text = glance(data, at);
        const length = headLength(text);
        const end = length > 0 ? at + length : findHeadEnd(data, at);
        if (end < 0) {
          if (end !== -1 || data.length - at > MAX_RESPONSE_HEAD) return this.#fail('upstream_invalid');
          this.#pending = Buffer.from(data.subarray(at));
          return;
        }
        const whole = length > 0 ? text : data.toString('latin1', at, end);
        const problem = parseResponseHead(whole, this.#head, this.#listener?.method ?? 'GET', end - at);
        if (problem !== 0) return this.#fail('upstream_invalid', new Error(problem));
        at = end;
        // RFC 9110 section 15.2: interim responses precede the final one; ours to the client is our own.
        if (this.#head.status < 200) continue;
        this.#startBody();
      } else if (this.#state === 'body') {
        at = this.#readBody(chunk, at);
        if (at < 0) return;
      } else {
        // Bytes nobody asked for: whatever they are, they must not meet the next request (response queue poisoning).
        return this.#discardExcess();
      }
    }
    this.#listener?.onBatchEnd();
  }

  #startBody(): void {
    const head = this.#head;
    this.#idleMs = head.eventStream ? this.#timeouts.eventIdleMs : this.#timeouts.bodyIdleMs;
    this.#reusable = head.keepAlive;
    this.#state = 'body';
    this.#waitForBody();
    this.#listener?.onHead(head);
    if (head.bodyKind === 'close') this.#reusable = false;
    this.#body.begin(head.bodyKind, head.contentLength);
    if (this.#body.complete) this.#finish();
    else this.#wire.readLittle(false);
  }

  #waitForBody(): void {
    this.#deadline = this.#idleMs === 0 ? 0 : this.#clock.recent + this.#idleMs;
  }

  /** Hands over what belongs to the body; returns where it stopped, or -1 when the connection is over. */
  #readBody(chunk: Buffer, at: number): number {
    this.#waitForBody();
    const end = this.#body.read(chunk, at, this);
    if (end === BODY_INVALID) this.#fail('upstream_cut', new Error('invalid chunked encoding'));
    if (end < 0) return -1;
    if (this.#body.complete) this.#finish();
    return end;
  }

  onBody(piece: Buffer): boolean {
    this.#listener?.onData(piece);
    return this.#state === 'body';
  }

  /** The response is complete: the connection goes back to its target, or is closed. */
  #finish(): void {
    const listener = this.#listener;
    this.#listener = null;
    const idleMs = Math.min(this.#timeouts.idleTimeoutMs, idleMsOf(this.#head.keepAliveFor));
    if (this.#reusable && idleMs > 0 && this.#requestComplete && !this.#origin.removed) {
      this.#state = 'idle';
      this.#deadline = 0;
      this.#wire.readLittle(true);
      this.usableUntil = this.#clock.recent + idleMs;
      this.reused = true;
      this.#wire.resume();
      this.#origin.idle.push(this);
    } else {
      this.destroy();
    }
    listener?.onEnd(this.#body.trailers);
  }

  #discardExcess(): void {
    const index = this.#origin.idle.lastIndexOf(this);
    if (index >= 0) this.#origin.idle.splice(index, 1);
    this.destroy();
  }

  onGone(error?: Error): void {
    this.#fail(this.#lossOf(), error);
  }

  onEnd(): void {
    // RFC 9112 section 6.3 (8): without a length, the end of the connection is the end of the body.
    if (this.#state === 'body' && this.#head.bodyKind === 'close') {
      const listener = this.#listener;
      this.#finish();
      listener?.onBatchEnd();
    } else {
      this.#fail(this.#lossOf());
    }
  }

  #lossOf(): Failure {
    if (this.#state === 'connecting') return 'connect_failed';
    return this.#state === 'body' ? 'upstream_cut' : 'upstream_closed';
  }

  #fail(failure: Failure, error?: Error): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'idle') return this.#discardExcess();
    const listener = this.#listener;
    // Half a head is not nothing: the worker began to answer, so nobody else may be asked.
    const begun = this.#pending !== null && failure === 'upstream_closed';
    this.destroy();
    listener?.onFailure(begun ? 'upstream_invalid' : failure, error);
  }
}
