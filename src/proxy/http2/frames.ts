/** HTTP/2 as it is on the wire (RFC 9113 sections 4, 6 and 7): the numbers, and frames written. */
import type { Wire } from '../wire.ts';
import { encodeField, encodeLines, encodeStatus, MAX_OWN_FIELDS, NO_TABLE } from './hpack.ts';

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const FRAME_HEAD = 9;
/** The least a receiver must take, and the most we ask for. */
export const MAX_FRAME = 16_384;
export const DEFAULT_WINDOW = 65_535;
export const MAX_WINDOW = 2 ** 31 - 1;

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const HAS_PRIORITY = 0x20;

export const ENABLE_PUSH = 2;
export const MAX_CONCURRENT_STREAMS = 3;
export const INITIAL_WINDOW_SIZE = 4;
export const MAX_FRAME_SIZE = 5;
export const MAX_HEADER_LIST_SIZE = 6;
/** RFC 9218 section 2.1. */
export const NO_RFC7540_PRIORITIES = 9;

export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const COMPRESSION_ERROR = 9;
export const ENHANCE_YOUR_CALM = 11;

const BLOCK_SIZE = 64 * 1024;
const MAX_SPARE = 64;
/** Nobody holds one for longer than a turn of the loop, unless his client does not read. */
const spareBlocks: Buffer[] = [];

/** Those that have something to write when this turn of the loop has read all there was. */
let waiting: FrameWriter[] = [];

/**
 * Frames of one connection, gathered over a turn of the event loop: one write, and TLS records that are full, for what many
 * streams have to say.
 */
export class FrameWriter {
  readonly #wire: Wire;
  #block: Buffer | null = null;
  #used = 0;
  #full: Buffer[] = [];
  #fullBytes = 0;
  #scheduled = false;
  #firstBlock = true;
  /** The stream of the DATA frame that stands last in the block, and where its flags are. */
  #lastDataStream = 0;
  #lastDataFlags = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Bytes the system has not taken. */
  get unsent(): number {
    return this.#fullBytes + this.#used + this.#wire.unsent;
  }

  /** Nothing waits to be handed over. */
  get isEmpty(): boolean {
    return this.#fullBytes + this.#used === 0;
  }

  settings(values: readonly (readonly [setting: number, value: number])[]): void {
    const block = this.#begin(SETTINGS, 0, 0, values.length * 6);
    for (const [setting, value] of values) {
      this.#used = block.writeUInt16BE(setting, this.#used);
      this.#used = block.writeUInt32BE(value, this.#used);
    }
  }

  acknowledgeSettings(): void {
    this.#begin(SETTINGS, ACK, 0, 0);
  }

  acknowledgePing(bytes: Buffer, at: number): void {
    const block = this.#begin(PING, ACK, 0, 8);
    this.#used += bytes.copy(block, this.#used, at, at + 8);
  }

  windowUpdate(stream: number, increment: number): void {
    const block = this.#begin(WINDOW_UPDATE, 0, stream, 4);
    this.#used = block.writeUInt32BE(increment, this.#used);
  }

  reset(stream: number, code: number): void {
    const block = this.#begin(RST_STREAM, 0, stream, 4);
    this.#used = block.writeUInt32BE(code, this.#used);
  }

  goAway(lastStream: number, code: number): void {
    const block = this.#begin(GOAWAY, 0, 0, 8);
    this.#used = block.writeUInt32BE(lastStream, this.#used);
    this.#used = block.writeUInt32BE(code, this.#used);
  }

  /**
   * An answer's head; `contentLength` -1: none is said. `lines` are field lines, each with its CRLF; the request's id, the
   * same in no two, is apart from them. Empty: none is said.
   */
  head(stream: number, status: number, contentLength: number, lines: string, endStream: boolean, requestId = ''): void {
    const fields = encodeLines(lines);
    const most = MAX_OWN_FIELDS + fields.length;
    const whole = most <= MAX_FRAME;
    const block = whole ? this.#reserve(FRAME_HEAD + most) : Buffer.allocUnsafe(most);
    const start = whole ? this.#used + FRAME_HEAD : 0;
    let at = start;
    if (this.#firstBlock) block[at++] = NO_TABLE;
    this.#firstBlock = false;
    at = encodeStatus(status, block, at);
    if (contentLength >= 0) at = encodeField('content-length', String(contentLength), block, at);
    if (requestId !== '') at = encodeField('x-request-id', requestId, block, at);
    at += fields.copy(block, at);
    const flags = endStream ? END_STREAM : 0;
    if (!whole) return this.#inPieces(stream, block.subarray(0, at), flags);
    this.#writeHead(block, HEADERS, flags | END_HEADERS, stream, at - start);
    this.#used = at;
  }

  /** Field lines behind an answer's body, and its end. */
  trailers(stream: number, lines: string): void {
    this.#inPieces(stream, encodeLines(lines), END_STREAM);
  }

  /** Bytes `from` to `to`, `MAX_FRAME` at most. */
  data(stream: number, bytes: Buffer, from: number, to: number): void {
    const block = this.#begin(DATA, 0, stream, to - from);
    this.#lastDataStream = stream;
    this.#lastDataFlags = this.#used - FRAME_HEAD + 4;
    this.#used += bytes.copy(block, this.#used, from, to);
  }

  /** Ends the stream with its last DATA frame, or with an empty one when that is gone. */
  end(stream: number): void {
    if (this.#block !== null && this.#lastDataStream === stream) this.#block[this.#lastDataFlags] = END_STREAM;
    else this.#begin(DATA, END_STREAM, stream, 0);
  }

  /** Writes what there is once this turn of the loop has read all there was. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (waiting.push(this) === 1) setImmediate(flushAll);
  }

  /** Writes as much as the connection takes now; its `onDrain` says when to go on. */
  flush(): void {
    this.#scheduled = false;
    while (this.#fullBytes + this.#used > 0 && this.#wire.isIdle) {
      const full = this.#full.shift();
      if (full === undefined && this.#block !== null) {
        this.#wire.write(this.#block.subarray(0, this.#used));
        this.#giveBack();
      } else if (full !== undefined) {
        this.#fullBytes -= full.length;
        this.#wire.write(full);
      }
    }
  }

  /** Nothing of it can be written any more. */
  discard(): void {
    this.#full = [];
    this.#fullBytes = 0;
    this.#giveBack();
  }

  #inPieces(stream: number, block: Buffer, flags: number): void {
    for (let from = 0; from === 0 || from < block.length; from += MAX_FRAME) {
      const to = Math.min(block.length, from + MAX_FRAME);
      const last = to === block.length ? END_HEADERS : 0;
      const out = this.#begin(from === 0 ? HEADERS : CONTINUATION, (from === 0 ? flags : 0) | last, stream, to - from);
      this.#used += block.copy(out, this.#used, from, to);
    }
  }

  #begin(type: number, flags: number, stream: number, length: number): Buffer {
    const block = this.#reserve(FRAME_HEAD + length);
    this.#writeHead(block, type, flags, stream, length);
    this.#used += FRAME_HEAD;
    return block;
  }

  #writeHead(block: Buffer, type: number, flags: number, stream: number, length: number): void {
    const at = this.#used;
    block[at] = length >> 16;
    block[at + 1] = length >> 8;
    block[at + 2] = length;
    block[at + 3] = type;
    block[at + 4] = flags;
    block[at + 5] = stream >> 24;
    block[at + 6] = stream >> 16;
    block[at + 7] = stream >> 8;
    block[at + 8] = stream;
    this.#lastDataStream = 0;
  }

  #reserve(size: number): Buffer {
    if (this.#block !== null && this.#used + size <= BLOCK_SIZE) return this.#block;
    if (this.#block !== null) {
      this.#full.push(this.#block.subarray(0, this.#used));
      this.#fullBytes += this.#used;
    }
    this.#used = 0;
    this.#lastDataStream = 0;
    this.#block = spareBlocks.pop() ?? Buffer.allocUnsafeSlow(BLOCK_SIZE);
    return this.#block;
  }

  #giveBack(): void {
    if (this.#block !== null && spareBlocks.length < MAX_SPARE) spareBlocks.push(this.#block);
    this.#block = null;
    this.#used = 0;
    this.#lastDataStream = 0;
  }
}

function flushAll(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flush();
}
