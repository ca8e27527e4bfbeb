/**
 * One HTTP/2 connection of a client (RFC 9113): hands each stream what is its own, and keeps the clocks, windows and
 * limits that all streams share.
 */
import type tls from 'node:tls';
import type { Swept } from '../clock.ts';
import type { Entry, Front } from '../front.ts';
import type { ClientInfo } from '../client_identity.ts';
import { MinimumRate } from '../minimum_rate.ts';
import { Wire } from '../wire.ts';
import type { WireListener } from '../wire.ts';
import { WriteStall } from '../write_stall.ts';
import { Allowance, Forgiven, FrameBudget } from './abuse.ts';
import { Http2ClientStream, STREAM_WINDOW } from './client_stream.ts';
import type { ConnectionShare } from './client_stream.ts';
import { ConnectionError, FrameReader } from './frame_reader.ts';
import type { FrameListener } from './frame_reader.ts';
import * as h2 from './frames.ts';
import { HPACK_INVALID, HPACK_TOO_LARGE, HpackDecoder } from './hpack.ts';
import { ReceiveWindow } from './receive_window.ts';
import { createRequestField, STATIC_FIELDS } from './request_head.ts';
import type { RequestField } from './request_head.ts';
import type { Holder } from './unsent_budget.ts';

/** What a client may send before workers take it, on all streams together. */
const CONNECTION_WINDOW = 1024 * 1024;
/** When more of its answers waits for the client, its streams' workers are paused. */
const UNSENT_MARK = 256 * 1024;
/** How long, and how much, is still read after the last word, so that the client gets to read it. */
const LINGER_MS = 2_000;
const LINGER_BYTES = 1024 * 1024;

/** open: requests are taken. draining: those there are are answered. closing: all is said. */
type State = 'open' | 'draining' | 'closing' | 'closed';

export class Http2ClientConnection implements Swept, Holder, ConnectionShare, FrameListener, WireListener {
  given = 0;
  sendWindow = h2.DEFAULT_WINDOW;
  readonly out: h2.FrameWriter;
  readonly #wire: Wire;
  readonly #front: Front;
  readonly #entry: Entry;
  readonly #client: ClientInfo;
  readonly #onClose: () => void;
  readonly #reader = new FrameReader(this);
  readonly #window = new ReceiveWindow(CONNECTION_WINDOW);
  readonly #decoder = new HpackDecoder(createRequestField, STATIC_FIELDS);
  readonly #fields: RequestField[] = [];
  readonly #streams = new Map<number, Http2ClientStream>();
  /** Of what is being read. */
  readonly #opened: Http2ClientStream[] = [];
  /** Streams that have ended, to be used again. */
  readonly #spare: Http2ClientStream[] = [];
  /** Streams of which something waits for room or a window, the next first. */
  readonly #waiting = new Set<Http2ClientStream>();
  readonly #forgiven = new Forgiven();
  readonly #stall = new WriteStall();
  readonly #readRate = new MinimumRate();
  readonly #resets: Allowance;
  readonly #frames = new FrameBudget();
  #state: State = 'open';
  #lastStream = 0;
  #requests = 0;
  #lingered = 0;
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
    this.#reader.stop();
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
    else if (this.#state === 'closing' || !this.#reader.settled) this.destroy();
    else if (this.#reader.inHead) this.#fail(h2.PROTOCOL_ERROR);
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
    this.#announce(0, this.#window.take(bytes));
    if (stream.remoteEnded || this.#streams.get(stream.id) !== stream) return;
    this.#announce(stream.id, stream.window.take(bytes));
  }

  #announce(stream: number, increment: number): void {
    if (increment === 0) return;
    this.out.windowUpdate(stream, increment);
    this.out.schedule();
  }

  reset(stream: Http2ClientStream, code: number): void {
    if (this.#state === 'closed') return;
    this.out.reset(stream.id, code);
    this.out.schedule();
    this.#forgiven.add(stream.id);
    this.onDone(stream);
  }

  onDone(stream: Http2ClientStream): void {
    if (this.#streams.get(stream.id) !== stream) return;
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
    this.#spare.push(stream);
    if (this.#streams.size > 0 || this.#state === 'closing' || this.#state === 'closed') return;
    if (this.#state === 'draining') this.#close();
    else if (!this.#reader.inHead) this.#deadline = this.#front.clock.recent + this.#entry.limits.idleMs;
  }

  // The wire.

  onConnect(): void {}

  onBytes(bytes: Buffer): void {
    if (this.#state === 'closing' || this.#state === 'closed') {
      this.#lingered += bytes.length;
      if (this.#lingered > LINGER_BYTES) this.destroy();
      return;
    }
    try {
      this.#reader.read(bytes);
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

  /** Frames that cost us something and say nothing are counted (CVE-2019-9512, 9515, 9518). */
  onAsking(): void {
    if (!this.#frames.spend()) throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many frames that say nothing');
  }

  onIdle(): void {
    if (!this.#frames.spendLittle()) throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many frames of no use');
  }

  onMalformed(stream: number, code: number): void {
    this.#refuseStream(stream, code);
  }

  onDataFrame(id: number, length: number, overhead: number, ends: boolean): void {
    // RFC 9113 section 6.9: all of it counts.
    if (!this.#window.receive(length)) throw new ConnectionError(h2.FLOW_CONTROL_ERROR, 'DATA beyond the window');
    if (length === overhead && !ends) this.onAsking();
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.remoteEnded) this.#onStrayData(id, stream);
    else if (!stream.window.receive(length)) this.#breakOff(stream, h2.FLOW_CONTROL_ERROR);
    else if (overhead > 0) this.onConsumed(stream, overhead);
  }

  onData(id: number, piece: Buffer): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined && !stream.remoteEnded) stream.onData(piece);
    else this.#announce(0, this.#window.take(piece.length));
  }

  onDataEnd(id: number): void {
    const stream = this.#streams.get(id);
    if (stream !== undefined && !stream.remoteEnded) stream.onEnd();
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

  onHeadBegin(): void {
    if (this.#streams.size === 0) this.#deadline = this.#front.clock.now() + this.#entry.limits.headersMs;
  }

  /** A whole head, or trailers. */
  onHead(id: number, data: Buffer, from: number, to: number, ends: boolean): void {
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
    stream.open(id, this.#initialSendWindow);
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

  /** RFC 9113 section 6.5.2. What is not here changes nothing for us: we use no table, and frames of the least size. */
  onSetting(setting: number, value: number): void {
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

  onSettingsEnd(): void {
    this.out.acknowledgeSettings();
    this.out.schedule();
  }

  onWindowUpdate(id: number, increment: number): void {
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

  onReset(id: number): void {
    if (id === 0 || this.#isIdle(id)) throw new ConnectionError(h2.PROTOCOL_ERROR, 'RST_STREAM of an idle stream');
    this.#countReset();
    this.#streams.get(id)?.onReset();
  }

  onPing(data: Buffer, start: number): void {
    this.out.acknowledgePing(data, start);
    this.out.schedule();
  }

  /** The client will ask no more; with an error it will not hear answers either. */
  onGoAway(code: number): void {
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
    this.#forgiven.add(id);
  }

  /** Whoever ended it: a stream that is opened and reset costs us, and hardly its client (CVE-2023-44487, CVE-2025-8671). */
  #countReset(): void {
    if (!this.#resets.take(this.#front.clock.now())) {
      throw new ConnectionError(h2.ENHANCE_YOUR_CALM, 'too many streams are reset');
    }
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
    this.#reader.stop();
    this.#deadline = this.#front.clock.now() + LINGER_MS;
    this.out.flush();
    this.#endWhenWritten();
  }

  #endWhenWritten(): void {
    if (this.out.isEmpty) this.#wire.end();
  }
}
