/**
 * Reads a client's frames, strict in their form and order (RFC 9113 sections 3.4, 4 and 6). What they mean for streams and
 * windows is for who listens.
 */
import * as h2 from './frames.ts';

/** Of a head as it is on the wire, and the frames it may come in (CVE-2024-27316). */
const MAX_HEAD_BLOCK = 128 * 1024;
const MAX_CONTINUATIONS = 32;

/** The connection cannot go on (RFC 9113 section 5.4.1). */
export class ConnectionError extends Error {
  /** As GOAWAY says it. */
  readonly code: number;
  constructor(code: number, reason: string) {
    super(reason);
    this.code = code;
  }
}

/** Buffers are lent for the call. Each may throw a `ConnectionError`. */
export interface FrameListener {
  /** A DATA frame begins: of `length` bytes, of which `overhead` are padding. */
  onDataFrame(stream: number, length: number, overhead: number, ends: boolean): void;
  /** A piece of its payload, not empty. */
  onData(stream: number, piece: Buffer): void;
  /** It is the stream's last. */
  onDataEnd(stream: number): void;
  /** A part of a head has come, and the rest must follow. */
  onHeadBegin(): void;
  /** A whole head, bytes `from` to `to`. */
  onHead(stream: number, bytes: Buffer, from: number, to: number, ends: boolean): void;
  onSetting(setting: number, value: number): void;
  /** All settings of a frame are said. */
  onSettingsEnd(): void;
  onWindowUpdate(stream: number, increment: number): void;
  onReset(stream: number): void;
  /** Eight bytes from `at` are to be sent back. */
  onPing(bytes: Buffer, at: number): void;
  onGoAway(code: number): void;
  /** A stream's frame that is not well formed, of a kind that is ignored. */
  onMalformed(stream: number, code: number): void;
  /** A frame that wants an answer, or would. */
  onAsking(): void;
  /** A frame that changes nothing. */
  onIdle(): void;
}

export class FrameReader {
  /** The preface and the settings behind it are read. */
  settled = false;
  readonly #listener: FrameListener;
  #stopped = false;
  #prefaceRead = 0;
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

  constructor(listener: FrameListener) {
    this.#listener = listener;
  }

  /** The rest of a head is awaited. */
  get inHead(): boolean {
    return this.#headStream !== 0;
  }

  /** Nothing more is wanted. */
  stop(): void {
    this.#stopped = true;
    this.#pending = null;
    this.#headBlock = [];
  }

  /** Throws `ConnectionError`. */
  read(bytes: Buffer): void {
    const data = this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#pending = null;
    const at = this.#readFrames(data);
    if (at < data.length && !this.#stopped) this.#pending = Buffer.from(data.subarray(at));
  }

  /** Returns up to where it read. */
  #readFrames(data: Buffer): number {
    let at = 0;
    if (this.#prefaceRead < h2.PREFACE.length) {
      at = this.#readPreface(data);
      if (this.#prefaceRead < h2.PREFACE.length) return at;
    }
    while (!this.#stopped) {
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
      } else {
        if (data.length - start < length) return at;
        at = start + length;
        this.#onFrame(type, flags, stream, data, start, at);
      }
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
    if (!this.settled && (type !== h2.SETTINGS || (flags & h2.ACK) !== 0)) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'the first frame is not SETTINGS');
    }
    // RFC 9113 section 6.10: nothing comes between the frames of a head.
    const continues = type === h2.CONTINUATION;
    if ((this.inHead || continues) && (!continues || stream !== this.#headStream)) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'CONTINUATION is out of place');
    }
  }

  #onFrame(type: number, flags: number, stream: number, data: Buffer, start: number, end: number): void {
    const length = end - start;
    switch (type) {
      case h2.HEADERS:
        return this.#onHeaders(data, start, end, flags, stream);
      case h2.CONTINUATION:
        return this.#onContinuation(data, start, end, flags);
      case h2.SETTINGS:
        return this.#onSettings(data, start, end, flags, stream);
      case h2.WINDOW_UPDATE:
        if (length !== 4) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'WINDOW_UPDATE has not four bytes');
        return this.#listener.onWindowUpdate(stream, data.readUInt32BE(start) & 0x7fff_ffff);
      case h2.RST_STREAM:
        if (length !== 4) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'RST_STREAM has not four bytes');
        return this.#listener.onReset(stream);
      case h2.PING:
        if (stream !== 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'PING of a stream');
        if (length !== 8) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'PING has not eight bytes');
        this.#listener.onAsking();
        return (flags & h2.ACK) === 0 ? this.#listener.onPing(data, start) : undefined;
      case h2.PRIORITY:
        this.#listener.onIdle();
        if (stream === 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'PRIORITY of no stream');
        // What it says is obsolete (RFC 9113 section 5.3.2).
        return length === 5 ? undefined : this.#listener.onMalformed(stream, h2.FRAME_SIZE_ERROR);
      case h2.GOAWAY:
        if (stream !== 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'GOAWAY of a stream');
        if (length < 8) throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'GOAWAY is too short');
        this.#listener.onIdle();
        return this.#listener.onGoAway(data.readUInt32BE(start + 4));
      case h2.PUSH_PROMISE:
        // RFC 9113 section 8.4: clients do not push.
        throw new ConnectionError(h2.PROTOCOL_ERROR, 'PUSH_PROMISE of a client');
      default:
        // RFC 9113 section 4.1: unknown ones are ignored.
        return this.#listener.onIdle();
    }
  }

  #beginData(data: Buffer, start: number, length: number, flags: number, stream: number): number {
    if (stream === 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'DATA of no stream');
    const padded = (flags & h2.PADDED) !== 0;
    const padding = padded ? (data[start] ?? 0) : 0;
    const overhead = padded ? padding + 1 : 0;
    if (overhead > length || (padded && length === 0)) {
      throw new ConnectionError(h2.PROTOCOL_ERROR, 'the padding is longer than its frame');
    }
    this.#dataStream = stream;
    this.#dataLeft = length - overhead;
    this.#paddingLeft = padding;
    this.#dataEnds = (flags & h2.END_STREAM) !== 0;
    this.#listener.onDataFrame(stream, length, overhead, this.#dataEnds);
    return start + (padded ? 1 : 0);
  }

  /** Reads on in a DATA frame; returns up to where. */
  #readData(data: Buffer, from: number): number {
    let at = from;
    if (this.#dataLeft > 0) {
      const end = Math.min(data.length, at + this.#dataLeft);
      if (end === at) return at;
      this.#dataLeft -= end - at;
      this.#listener.onData(this.#dataStream, data.subarray(at, end));
      at = end;
      if (this.#dataLeft > 0) return at;
    }
    const padding = Math.min(data.length - at, this.#paddingLeft);
    this.#paddingLeft -= padding;
    if (this.#paddingLeft > 0) return at + padding;
    const stream = this.#dataStream;
    this.#dataStream = 0;
    if (this.#dataEnds) this.#listener.onDataEnd(stream);
    return at + padding;
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
    if ((flags & h2.END_HEADERS) !== 0) return this.#listener.onHead(stream, data, from, to, ends);
    this.#headStream = stream;
    this.#headEnds = ends;
    this.#headBlock = [Buffer.from(data.subarray(from, to))];
    this.#headBytes = to - from;
    this.#listener.onHeadBegin();
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
    this.#listener.onHead(stream, block, 0, block.length, this.#headEnds);
  }

  #onSettings(data: Buffer, start: number, end: number, flags: number, stream: number): void {
    if (stream !== 0) throw new ConnectionError(h2.PROTOCOL_ERROR, 'SETTINGS of a stream');
    const acknowledges = (flags & h2.ACK) !== 0;
    if (acknowledges ? end !== start : (end - start) % 6 !== 0) {
      throw new ConnectionError(h2.FRAME_SIZE_ERROR, 'SETTINGS has no whole settings');
    }
    this.#listener.onAsking();
    if (acknowledges) return;
    this.settled = true;
    for (let at = start; at < end; at += 6) this.#listener.onSetting(data.readUInt16BE(at), data.readUInt32BE(at + 2));
    this.#listener.onSettingsEnd();
  }
}
