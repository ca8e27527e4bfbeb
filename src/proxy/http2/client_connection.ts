/**
 * One HTTP/2 connection of a client (RFC 9113): reads frames strictly, hands each stream what is its own, and keeps the
 * clocks, windows and limits that all streams share.
 */
import type tls from 'node:tls';
import type { Swept } from '../clock.ts';
import type { Entry, Front } from '../front.ts';
import type { ClientInfo } from '../client_identity.ts';
import { MinimumRate } from '../minimum_rate.ts';
import { Wire } from '../wire.ts';
import type { WireListener } from '../wire.ts';
import { WriteStall } from '../write_stall.ts';
import { Allowance, FrameBudget } from './abuse.ts';
import { Http2ClientStream } from './client_stream.ts';
import type { ConnectionShare } from './client_stream.ts';
import * as h2 from './frames.ts';
import { HPACK_INVALID, HPACK_TOO_LARGE, HpackDecoder } from './hpack.ts';
import { createRequestField, STATIC_FIELDS } from './request_head.ts';
import type { RequestField } from './request_head.ts';
import type { Holder } from './unsent_budget.ts';

/** What a client may send before a worker takes it: of one stream, and of the whole connection. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 1024 * 1024;
/** When more of its answers waits for the client, its streams' workers are paused. */
const UNSENT_MARK = 256 * 1024;
/** Of a head as it is on the wire, and the frames it may come in (CVE-2024-27316). */
const MAX_HEAD_BLOCK = 128 * 1024;
const MAX_CONTINUATIONS = 32;
/** How long, and how much, is still read after the last word, so that the client gets to read it. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 1024 * 1024;
/** Streams that were reset while their client may still be sending on them: what comes is ignored (RFC 9113 section 5.1). */
const MAX_FORGIVEN = 256;

/** open: requests are taken. draining: those there are are answered. closing: all is said. */
type State = 'open' | 'draining' | 'closing' | 'closed';

class ConnectionError extends Error {
  readonly code: number;
  constructor(code: number, reason: string) {
    super(reason);
    this.code = code;
  }
}

export class Http2ClientConnection implements Swept, Holder, ConnectionShare, WireListener {
  given = 0;
  sendWindow = h2.DEFAULT_WINDOW;
  readonly out: h2.FrameWriter;
  readonly #wire: Wire;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #client: ClientInfo;
  readonly #onClose: () => void;
  readonly #decoder = new HpackDecoder(createRequestField, STATIC_FIELDS);
  readonly #fields: RequestField[] = [];
  readonly #streams = new Map<number, Http2ClientStream>();
  /** Of what is being read. */
  readonly #opened: Http2ClientStream[] = [];
  /** Streams that have ended, to be used again. */
  readonly #spare: Http2ClientStream[] = [];
  /** Streams of which something waits for room or a window, the next first. */
  readonly #waiting = new Set<Http2ClientStream>();
  readonly #forgiven = new Set<number>();
  readonly #stall = new WriteStall();
  readonly #readRate = new MinimumRate();
  readonly #resets: Allowance;
  readonly #frames = new FrameBudget();
  #state: State = 'open';
  #lastStream = 0;
  #requests = 0;
  // Reading.
  #prefaceRead = 0;
  #settled = false;
  #pending: Buffer | null = null;
  /** The DATA frame whose payload is being read: what is left of it, and of the padding behind. */
  #dataStream = 0;
  #dataLeft = 0;
  #paddingLeft = 0;
  #dataEnds = false;
  /** The head whose CONTINUATION frames are awaited; 0: none is. */
  #headStream = 0;
  #headEnds = false;
  #headBlock: Buffer[] = [];
  #headBytes = 0;
  #lingered = 0;
  // Windows.
  #receiveWindow = CONNECTION_WINDOW;
  #consumed = 0;
  #initialSendWindow = h2.DEFAULT_WINDOW;
  /** By when what is awaited must come: the preface, a request, the rest of a head. */
  #deadline: number;

  constructor(socket: tls.TLSSocket, front: Front, entry: Entry, client: ClientInfo, onClose: () => void) {
    this.#front = front;
    this.#entry = entry;
    this.#client = client;
    this.#onClose = onClose;
    const { headersMs, maxStreams, maxHeaderSize } = entry.limits;
    const now = front.clock.now();
    // A connection that says nothing gets no more time than a head may take, and a last moment when all is ending.
    this.#deadline = now + (front.draining ? LINGER_MS : headersMs);
    this.#resets = new Allowance(now);
    this.#wire = new Wire(socket, this);
    this.out = new h2.FrameWriter(this.#wire);
    this.out.settings([
      [h2.MAX_CONCURRENT_STREAMS, maxStreams],
      [h2.INITIAL_WINDOW_SIZE, STREAM_WINDOW],
      [h2.MAX_HEADER_LIST_SIZE, maxHeaderSize],
      [h2.NO_RFC7540_PRIORITIES, 1],
    ]);
    this.out.windowUpdate(0, CONNECTION_WINDOW - h2.DEFAULT_WINDOW);
    this.out.schedule();
    front.clock.add(this);
    front.unsent.add(this);
  }

  /** Says GOAWAY; what is being answered is answered, nothing new is taken. */
  drain(): void {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    this.out.goAway(this.#lastStream, h2.NO_ERROR);
    this.out.schedule();
    if (this.#streams.size === 0) this.#close();
  }

  destroy(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#front.clock.delete(this);
    this.#front.unsent.delete(this);
    for (const stream of this.#streams.values()) stream.onReset();
    this.out.discard();
    this.#wire.destroy();
    this.#onClose();
  }

  unsentBytes(): number {
    let bytes = this.out.unsent;
    for (const stream of this.#waiting) bytes += stream.unsentBytes;
    return bytes;
  }

  /** A client that holds too much of what others need. */
  evict(): void {
    this.#fail(h2.ENHANCE_YOUR_CALM);
    // It takes nothing, so that it would not read what is said either.
    this.#wire.reset();
    this.destroy();
  }

  sweep(now: number): void {
    this.#frames.renew();
    const { unsent } = this.out;
    const { writeIdleMs, minRate } = this.#entry.limits;
    // Of streams that are written and not taken only the connection knows.
    const stalled =
      this.#stall.check(unsent, now, writeIdleMs) ||
      this.#readRate.isTooSlow(this.#wire.sent, unsent > 0, now, minRate);
    let givenUp = false;
    for (const stream of this.#streams.values()) if (stream.sweep(now)) givenUp = true;
    // Given up, with nobody else on it, while not even what was written is taken.
    if (stalled || (givenUp && unsent > 0 && this.#streams.size === 0)) {
      this.#wire.reset();
      return this.destroy();
    }
    if (this.#deadline === 0 || now < this.#deadline) return;
    // A slow client still takes the last answer: what comes after begins after.
    if (this.#state === 'closing' && this.out.unsent > 0) this.#deadline = now + LINGER_MS;
    else if (this.#state === 'closing' || !this.#settled) this.destroy();
    else if (this.#headStream !== 0) this.#fail(h2.PROTOCOL_ERROR);
    else this.drain();
  }

  // What streams share.

  get hasRoom(): boolean {
    return this.out.unsent < UNSENT_MARK;
  }

  onGiven(bytes: number): void {
    this.given += bytes;
    this.#front.unsent.onGiven(bytes);
  }

  wait(stream: Http2ClientStream): void {
    this.#waiting.add(stream);
    if (this.hasRoom) return;
    this.out.flush();
    // Asked, so that it says when.
    void this.#wire.isIdle;
  }

  onConsumed(stream: Http2ClientStream, bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed >= CONNECTION_WINDOW / 2) {
      this.out.windowUpdate(0, this.#consumed);
      this.#receiveWindow += this.#consumed;
      this.#consumed = 0;
      this.out.schedule();
    }
    if (stream.remoteEnded || this.#streams.get(stream.id) !== stream) return;
    stream.consumed += bytes;
    if (stream.consumed < STREAM_WINDOW / 2) return;
    this.out.windowUpdate(stream.id, stream.consumed);
    stream.receiveWindow += stream.consumed;
    stream.consumed = 0;
    this.out.schedule();
  }

  reset(stream: Http2ClientStream, code: number): void {
    if (this.#state === 'closed') return;
    this.out.reset(stream.id, code);
    this.out.schedule();
    this.#forgive(stream.id);
    this.onDone(stream);
  }

  onDone(stream: Http2ClientStream): void {
    if (this.#streams.get(stream.id) !== stream) return;
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
    this.#spare.push(stream);
    if (this.#streams.size > 0 || this.#state === 'closing' || this.#state === 'closed') return;
    if (this.#state === 'draining') this.#close();
    else if (this.#headStream === 0) this.#deadline = this.#front.clock.recent + this.#entry.limits.idleMs;
  }

  // The wire.

  onConnect(): void {}

  onBytes(bytes: Buffer): void {
    if (this.#state === 'closing' || this.#state === 'closed') {
      this.#lingered += bytes.length;
      if (this.#lingered > LINGER_BYTES) this.destroy();
      return;
    }
    const data = this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#pending = null;
    try {
      const at = this.#read(data);
      if (at < data.length && this.#isOpen()) this.#pending = Buffer.from(data.subarray(at));
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.#fail(error.code);
    }
    this.#beginOpened();
  }

  /**
   * Requests are begun when all that was read at once is understood: of one whose reset came with it, no worker hears
   * (CVE-2023-44487).
   */
  #beginOpened(): void {
    const opened = this.#opened;
    if (opened.length === 0) return;
    for (const stream of opened) stream.begin();
    opened.length = 0;
  }

  onDrain(): void {
    this.out.flush();
    if (this.#state === 'closing') this.#endWhenWritten();
    else this.#goOn();
  }

  onEnd(): void {
    this.destroy();
  }

  onGone(): void {
    this.destroy();
  }

  /** Lets each stream that waits have its turn, one frame at a time, as long as there is room. */
  #goOn(): void {
    if (this.#waiting.size === 0) return;
    let stuck = 0;
    for (const stream of this.#waiting) {
      if (!this.hasRoom) break;
      const before = stream.unsentBytes;
      this.#waiting.delete(stream);
      // Behind all others, so that it comes by again.
      if (stream.goOn()) this.#waiting.add(stream);
      stuck = before === stream.unsentBytes ? stuck + 1 : 0;
      if (stuck > this.#waiting.size) break;
    }
    this.out.schedule();
  }

  // Frames.

  #isOpen(): boolean {
    return this.#state === 'open' || this.#state === 'draining';
  }

  /** Returns up to where it read. */
  #read(data: Buffer): number {
    let at = 0;
    if (this.#prefaceRead < h2.PREFACE.length) {
      at = this.#readPreface(data);
      if (this.#prefaceRead < h2.PREFACE.length) return at;
    }
    while (this.#isOpen()) {
      if (this.#dataStream !== 0) {
        at = this.#readData(data, at);
        if (this.#dataStream !== 0) return at;
      }
      if (data.length - at < h2.FRAME_HEAD) return at;
      const length = data.readUIntBE(at, 3);
      const type = data[at + 3] ?? 0;
      const flags = data[at + 4] ?? 0;
      const stream = data.readUInt32BE(at + 5) & 0x7fff_ffff;
      // RFC 9113 section 4.2.
      if (length > h2.MAX_FRAME) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'a frame is too large');
      this.#checkOrder(type, flags, stream);
      const start = at + h2.FRAME_HEAD;
      if (type === h2.DATA) {
        // The payload is handed on as it comes.
        if ((flags & h2.PADDED) !== 0 && length > 0 && data.length === start) return at;
        at = this.#beginData(data, start, length, flags, stream);
        continue;
      }
      if (data.length - start < length) return at;
      at = start + length;
      this.#onFrame({ type, flags, stream }, data, start, at);
    }
    return data.length;
  }

  /** RFC 9113 section 3.4. */
  #readPreface(data: Buffer): number {
    const count = Math.min(data.length, h2.PREFACE.length - this.#prefaceRead);
    if (data.compare(h2.PREFACE, this.#prefaceRead, this.#prefaceRead + count, 0, count) !== 0) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'the preface is not one');
    }
    this.#prefaceRead += count;
    return count;
  }

  #checkOrder(type: number, flags: number, stream: number): void {
    // RFC 9113 section 3.4: after the preface come settings.
    if (!this.#settled && (type !== h2.SETTINGS || (flags & h2.ACK) !== 0)) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'the first frame is not SETTINGS');
    }
    // RFC 9113 section 6.10: nothing comes between the frames of a head.
    if (
      (this.#headStream !== 0 || type === h2.CONTINUATION) &&
      (type !== h2.CONTINUATION || stream !== this.#headStream)
    ) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'CONTINUATION is out of place');
    }
  }

  #onFrame(
    { type, flags, stream }: { readonly type: number; readonly flags: number; readonly stream: number },
    data: Buffer,
    start: number,
    end: number,
  ): void {
    switch (type) {
      case h2.HEADERS:
        return this.#onHeaders(data, start, end, flags, stream);
      case h2.CONTINUATION:
        return this.#onContinuation(data, start, end, flags);
      case h2.SETTINGS:
        return this.#onSettings(data, start, end, flags, stream);
      case h2.WINDOW_UPDATE:
        return this.#onWindowUpdate(data, start, end - start, stream);
      case h2.RST_STREAM:
        return this.#onReset(end - start, stream);
      case h2.PING:
        return this.#onPing(data, start, end - start, flags, stream);
      case h2.PRIORITY:
        this.#spendLittle();
        if (stream === 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'PRIORITY of no stream');
        // What it says is obsolete (RFC 9113 section 5.3.2).
        if (end - start !== 5) this.#refuseStream(stream, h2.FRAME_SIZE_ERROR);
        return;
      case h2.GOAWAY:
        if (stream !== 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'GOAWAY of a stream');
        if (end - start < 8) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'GOAWAY is too short');
        return this.#onGoAway(data.readUInt32BE(start + 4));
      case h2.PUSH_PROMISE:
        // RFC 9113 section 8.4: clients do not push.
        throw new ConnectionError(h2.PROTOCOL_ERROR, 'PUSH_PROMISE of a client');
      default:
        // RFC 9113 section 4.1: unknown ones are ignored.
        return this.#spendLittle();
    }
  }

  /** Frames that cost us something and say nothing are counted (CVE-2019-9512, 9515, 9518). */
  #spend(): void {
    if (!this.#frames.spend()) throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many frames that say nothing');
  }

  #spendLittle(): void {
    if (!this.#frames.spendLittle()) throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many frames of no use');
  }

  #beginData(data: Buffer, start: number, length: number, flags: number, stream: number): number {
    if (stream === 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'DATA of no stream');
    const padded = (flags & h2.PADDED) !== 0;
    const padding = padded ? (data[start] ?? 0) : 0;
    const overhead = padded ? padding + 1 : 0;
    if (overhead > length || (padded && length === 0)) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'the padding is longer than its frame');
    }
    // RFC 9113 section 6.9: all of it counts.
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) throw new ConnectionError(h2.FLOW_CONTROL_ERROR, 'DATA beyond the window');
    const ends = (flags & h2.END_STREAM) !== 0;
    if (length === overhead && !ends) this.#spend();
    const receiver = this.#streams.get(stream);
    if (receiver === undefined || receiver.remoteEnded) this.#onStrayData(stream, receiver);
    else {
      receiver.receiveWindow -= length;
      if (receiver.receiveWindow < 0) this.#breakOff(receiver, h2.FLOW_CONTROL_ERROR);
      else if (overhead > 0) this.onConsumed(receiver, overhead);
    }
    this.#dataStream = stream;
    this.#dataLeft = length - overhead;
    this.#paddingLeft = padding;
    this.#dataEnds = ends;
    return start + (padded ? 1 : 0);
  }

  /** DATA of a stream that takes none. */
  #onStrayData(stream: number, receiver: Http2ClientStream | undefined): void {
    if (receiver !== undefined) this.#breakOff(receiver, h2.STREAM_CLOSED);
    else if (this.#isIdle(stream)) throw new ConnectionError(h2.PROTOCOL_ERROR, 'DATA of an idle stream');
    else if (stream <= this.#lastStream && !this.#forgiven.has(stream)) this.#refuseStream(stream, h2.STREAM_CLOSED);
  }

  /** Nothing was ever said on it; after our GOAWAY nobody can know. */
  #isIdle(stream: number): boolean {
    return stream > this.#lastStream && this.#state === 'open';
  }

  /** Reads on in a DATA frame; returns up to where. */
  #readData(data: Buffer, from: number): number {
    let at = from;
    if (this.#dataLeft > 0) {
      const end = Math.min(data.length, at + this.#dataLeft);
      if (end === at) return at;
      this.#dataLeft -= end - at;
      const stream = this.#streams.get(this.#dataStream);
      if (stream !== undefined && !stream.remoteEnded) stream.onData(data.subarray(at, end));
      else this.#onNobodysData(end - at);
      at = end;
      if (this.#dataLeft > 0) return at;
    }
    const padding = Math.min(data.length - at, this.#paddingLeft);
    this.#paddingLeft -= padding;
    at += padding;
    if (this.#paddingLeft > 0) return at;
    const stream = this.#streams.get(this.#dataStream);
    this.#dataStream = 0;
    if (this.#dataEnds && stream !== undefined && !stream.remoteEnded) stream.onEnd();
    return at;
  }

  #onNobodysData(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < CONNECTION_WINDOW / 2) return;
    this.out.windowUpdate(0, this.#consumed);
    this.#receiveWindow += this.#consumed;
    this.#consumed = 0;
    this.out.schedule();
  }

  #onHeaders(data: Buffer, start: number, end: number, flags: number, stream: number): void {
    // RFC 9113 section 5.1.1: clients' streams are odd.
    if (stream % 2 === 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'HEADERS of no stream of a client');
    const padded = (flags & h2.PADDED) !== 0;
    const from = start + (padded ? 1 : 0) + ((flags & h2.HAS_PRIORITY) === 0 ? 0 : 5);
    if (from > end) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'HEADERS is too short');
    const to = end - (padded ? (data[start] ?? 0) : 0);
    if (from > to) throw new ConnectionError(h2.PROTOCOL_ERROR, 'the padding is longer than its frame');
    const ends = (flags & h2.END_STREAM) !== 0;
    if ((flags & h2.END_HEADERS) !== 0) return this.#onBlock(data, from, to, stream, ends);
    this.#headStream = stream;
    this.#headEnds = ends;
    this.#headBlock = [Buffer.from(data.subarray(from, to))];
    this.#headBytes = to - from;
    if (this.#streams.size === 0) this.#deadline = this.#front.clock.now() + this.#entry.limits.headersMs;
  }

  #onContinuation(data: Buffer, start: number, end: number, flags: number): void {
    this.#headBytes += end - start;
    this.#headBlock.push(Buffer.from(data.subarray(start, end)));
    if (this.#headBytes > MAX_HEAD_BLOCK || this.#headBlock.length > MAX_CONTINUATIONS) {
      throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'a head does not end');
    }
    if ((flags & h2.END_HEADERS) === 0) return;
    const block = Buffer.concat(this.#headBlock);
    const stream = this.#headStream;
    this.#headStream = 0;
    this.#headBlock = [];
    this.#onBlock(block, 0, block.length, stream, this.#headEnds);
  }

  /** A whole head, or trailers. */
  #onBlock(data: Buffer, from: number, to: number, id: number, ends: boolean): void {
    const fields = this.#fields;
    fields.length = 0;
    // A byte more than is taken, so that what is too large is seen to be.
    const code = this.#decoder.decode(data, from, to, fields, this.#entry.limits.maxHeaderSize + 1);
    if (code === HPACK_INVALID) throw new ConnectionError(h2.COMPRESSION_ERROR, 'a head is no valid HPACK');
    const known = this.#streams.get(id);
    if (known !== undefined) return this.#onTrailers(known, fields, ends);
    if (id <= this.#lastStream) {
      if (this.#forgiven.has(id)) return;
      throw new ConnectionError(h2.STREAM_CLOSED, 'HEADERS of a stream that is closed');
    }
    // RFC 9113 section 6.8: what comes after GOAWAY was never here.
    if (this.#state !== 'open') return;
    this.#lastStream = id;
    if (this.#streams.size >= this.#entry.limits.maxStreams) return this.#refuseStream(id, h2.REFUSED_STREAM);
    const stream = this.#spare.pop() ?? new Http2ClientStream(this.#front, this.#entry, this.#client, this);
    stream.open(id, this.#initialSendWindow, STREAM_WINDOW);
    this.#streams.set(id, stream);
    this.#deadline = 0;
    stream.onHead(fields, code === HPACK_TOO_LARGE, ends);
    this.#opened.push(stream);
    if (++this.#requests === this.#entry.limits.maxRequests || this.#front.draining) this.drain();
  }

  #onTrailers(stream: Http2ClientStream, fields: readonly RequestField[], ends: boolean): void {
    // RFC 9113 sections 5.1 and 8.1: after its end nothing, and the second HEADERS are the end.
    if (stream.remoteEnded) this.#breakOff(stream, h2.STREAM_CLOSED);
    else if (!ends) this.#breakOff(stream, h2.PROTOCOL_ERROR);
    else stream.onTrailers(fields);
  }

  #onSettings(data: Buffer, start: number, end: number, flags: number, stream: number): void {
    if (stream !== 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'SETTINGS of a stream');
    const acknowledges = (flags & h2.ACK) !== 0;
    if (acknowledges ? end !== start : (end - start) % 6 !== 0) {
      throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'SETTINGS has no whole settings');
    }
    this.#spend();
    if (acknowledges) return;
    this.#settled = true;
    for (let at = start; at < end; at += 6) this.#onSetting(data.readUInt16BE(at), data.readUInt32BE(at + 2));
    this.out.acknowledgeSettings();
    this.out.schedule();
  }

  /** RFC 9113 section 6.5.2. What is not here changes nothing for us: we use no table, and frames of the least size. */
  #onSetting(setting: number, value: number): void {
    if (setting === h2.ENABLE_PUSH && value > 1)
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'ENABLE_PUSH is not 0 or 1');
    if (setting === h2.MAX_FRAME_SIZE && (value < h2.MAX_FRAME || value > 0xff_ffff)) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'MAX_FRAME_SIZE is out of bounds');
    }
    if (setting !== h2.INITIAL_WINDOW_SIZE) return;
    if (value > h2.MAX_WINDOW) throw new ConnectionError(h2.FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE is too large');
    const change = value - this.#initialSendWindow;
    this.#initialSendWindow = value;
    for (const stream of this.#streams.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > h2.MAX_WINDOW) throw new ConnectionError(h2.FLOW_CONTROL_ERROR, 'a window is too large');
    }
    if (change > 0) this.#goOn();
  }

  #onWindowUpdate(data: Buffer, start: number, length: number, id: number): void {
    if (length !== 4) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'WINDOW_UPDATE has not four bytes');
    const increment = data.readUInt32BE(start) & 0x7fff_ffff;
    // A client that opens windows by small change makes us do so, too (CVE-2019-9511).
    if (!this.#frames.spendUpdate(this.given)) {
      throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many WINDOW_UPDATE');
    }
    if (id === 0) {
      if (increment === 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'WINDOW_UPDATE of nothing');
      this.sendWindow += increment;
      if (this.sendWindow > h2.MAX_WINDOW) throw new ConnectionError(h2.FLOW_CONTROL_ERROR, 'a window is too large');
      return this.#goOn();
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (this.#isIdle(id)) throw new ConnectionError(h2.PROTOCOL_ERROR, 'WINDOW_UPDATE of an idle stream');
      return;
    }
    if (increment === 0) return this.#breakOff(stream, h2.PROTOCOL_ERROR);
    stream.sendWindow += increment;
    if (stream.sendWindow > h2.MAX_WINDOW) this.#breakOff(stream, h2.FLOW_CONTROL_ERROR);
    else if (this.#waiting.has(stream)) this.#goOn();
  }

  #onReset(length: number, id: number): void {
    if (length !== 4) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'RST_STREAM has not four bytes');
    if (id === 0 || this.#isIdle(id)) throw new ConnectionError(h2.PROTOCOL_ERROR, 'RST_STREAM of an idle stream');
    this.#countReset();
    this.#streams.get(id)?.onReset();
  }

  #onPing(data: Buffer, start: number, length: number, flags: number, stream: number): void {
    if (stream !== 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'PING of a stream');
    if (length !== 8) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'PING has not eight bytes');
    this.#spend();
    if ((flags & h2.ACK) !== 0) return;
    this.out.acknowledgePing(data, start);
    this.out.schedule();
  }

  /** The client will ask no more; with an error it will not hear answers either. */
  #onGoAway(code: number): void {
    this.#spendLittle();
    if (code !== h2.NO_ERROR) this.destroy();
    else this.drain();
  }

  // Errors.

  /** A stream that breaks the rules: its request is given up. */
  #breakOff(stream: Http2ClientStream, code: number): void {
    this.#countReset();
    this.reset(stream, code);
    stream.onReset();
  }

  /** The same of a stream that is no more, or never was. */
  #refuseStream(id: number, code: number): void {
    this.#countReset();
    this.out.reset(id, code);
    this.out.schedule();
    this.#forgive(id);
  }

  /** Whoever ended it: a stream that is opened and reset costs us, and hardly its client (CVE-2023-44487, CVE-2025-8671). */
  #countReset(): void {
    if (!this.#resets.take(this.#front.clock.now())) {
      throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many streams are reset');
    }
  }

  #forgive(id: number): void {
    if (this.#forgiven.size >= MAX_FORGIVEN) {
      for (const oldest of this.#forgiven) {
        this.#forgiven.delete(oldest);
        break;
      }
    }
    this.#forgiven.add(id);
  }

  /** RFC 9113 section 5.4.1. */
  #fail(code: number): void {
    if (!this.#isOpen()) return;
    this.out.goAway(this.#lastStream, code);
    this.#close();
    for (const stream of this.#streams.values()) stream.onReset();
  }

  /** All is said: what still comes is thrown away for a moment, for closing at once would take back our last words. */
  #close(): void {
    this.#state = 'closing';
    this.#pending = null;
    this.#headBlock = [];
    this.#deadline = this.#front.clock.now() + LINGER_MS;
    this.out.flush();
    this.#endWhenWritten();
  }

  #endWhenWritten(): void {
    if (this.out.isEmpty) this.#wire.end();
  }
}
