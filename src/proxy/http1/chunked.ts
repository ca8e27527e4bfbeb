/**
 * The chunked transfer coding (RFC 9112 section 7.1), read strictly: hexadecimal sizes only, CRLF everywhere, extensions
 * checked and dropped, trailers checked and kept.
 */
import { fieldLine, MAX_TRAILERS, mayBeTrailer } from '../trailers.ts';
import { FIELD_VALUE, HEX, TOKEN } from './chars.ts';

/** Everything there was is read; more must come. */
export const DECODED_MORE = 0;
/** Body bytes are at `dataStart`–`dataEnd`. */
export const DECODED_DATA = 1;
/** The body and its trailers are complete; `position` is just past them. */
export const DECODED_END = 2;
export const DECODED_ERROR = 3;

/** Chunk extensions cost the sender nothing and the reader everything (CVE-2024-22019): bounded over the whole body. */
const MAX_EXTENSIONS = 16 * 1024;
/** 14 hexadecimal digits, zeros included: beyond 2^53 a size is an attack. */
const MAX_SIZE_DIGITS = 14;

/** RFC 9110 section 6.5.1: never in trailers, where they would say too late how the message is to be read. */
const FORBIDDEN_TRAILERS = new Set(['content-length', 'transfer-encoding', 'host']);

const CR = 0x0d;
const LF = 0x0a;
const QUOTE = 0x22;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;

type State =
  | 'size'
  | 'extension'
  | 'extension_name'
  | 'extension_value'
  | 'extension_token'
  | 'extension_end'
  | 'quoted'
  | 'quoted_pair'
  | 'size_lf'
  | 'data'
  | 'data_cr'
  | 'data_lf'
  | 'trailer_start'
  | 'trailer_name'
  | 'trailer_value'
  | 'trailer_lf'
  | 'end_lf'
  | 'done'
  | 'failed';

export class ChunkedDecoder {
  /** Where reading goes on. */
  position = 0;
  dataStart = 0;
  dataEnd = 0;
  /** The field lines behind the body that may be passed on, each with its CRLF. */
  trailers = '';
  #state: State = 'size';
  #size = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailerBytes = 0;
  #trailerName = '';
  #trailerValue = '';

  /** Makes it ready for another body. */
  reset(): void {
    this.#state = 'size';
    this.#size = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.#trailerBytes = 0;
    this.trailers = '';
  }

  /** Reads on from `from`, up to the next piece of the body or the end of what there is. */
  next(buffer: Buffer, from: number): number {
    let at = from;
    while (at < buffer.length) {
      if (this.#state === 'data') {
        const end = Math.min(buffer.length, at + this.#size);
        this.#size -= end - at;
        this.dataStart = at;
        this.dataEnd = end;
        this.position = end;
        if (this.#size === 0) this.#state = 'data_cr';
        return DECODED_DATA;
      }
      const state: State = this.#step(buffer[at] ?? 0);
      this.#state = state;
      at++;
      if (state === 'done' || state === 'failed') {
        this.position = at;
        return state === 'done' ? DECODED_END : DECODED_ERROR;
      }
    }
    this.position = at;
    return DECODED_MORE;
  }

  #step(byte: number): State {
    switch (this.#state) {
      case 'size':
        return this.#readSize(byte);
      case 'extension':
        // RFC 9112 section 7.1.1, without the bad whitespace it lets recipients take.
        return isToken(byte) ? this.#extension('extension_name') : 'failed';
      case 'extension_name':
        if (byte === EQUALS) return this.#extension('extension_value');
        return isToken(byte) ? this.#extension('extension_name') : this.#endExtension(byte);
      case 'extension_value':
        if (byte === QUOTE) return this.#extension('quoted');
        return isToken(byte) ? this.#extension('extension_token') : 'failed';
      case 'extension_token':
        return isToken(byte) ? this.#extension('extension_token') : this.#endExtension(byte);
      case 'extension_end':
        return this.#endExtension(byte);
      case 'quoted':
        if (byte === QUOTE) return this.#extension('extension_end');
        if (byte === BACKSLASH) return this.#extension('quoted_pair');
        return FIELD_VALUE[byte] === 1 ? this.#extension('quoted') : 'failed';
      case 'quoted_pair':
        return FIELD_VALUE[byte] === 1 ? this.#extension('quoted') : 'failed';
      case 'size_lf':
        if (byte !== LF) return 'failed';
        return this.#size === 0 ? 'trailer_start' : 'data';
      case 'data_cr':
        return byte === CR ? 'data_lf' : 'failed';
      case 'data_lf':
        if (byte !== LF) return 'failed';
        this.#digits = 0;
        return 'size';
      case 'trailer_start':
        if (byte === CR) return 'end_lf';
        this.#trailerName = '';
        this.#trailerValue = '';
        return this.#readTrailerName(byte);
      case 'trailer_name':
        if (byte !== 0x3a) return this.#readTrailerName(byte);
        return FORBIDDEN_TRAILERS.has(this.#trailerName.toLowerCase()) ? 'failed' : this.#trailer('trailer_value');
      case 'trailer_value':
        if (byte === CR) return 'trailer_lf';
        this.#trailerValue += String.fromCharCode(byte);
        return FIELD_VALUE[byte] === 1 ? this.#trailer('trailer_value') : 'failed';
      case 'trailer_lf':
        if (byte !== LF) return 'failed';
        this.#keepTrailer();
        return 'trailer_start';
      case 'end_lf':
        return byte === LF ? 'done' : 'failed';
      case 'data':
      case 'done':
      case 'failed':
        return 'failed';
    }
  }

  #readSize(byte: number): State {
    const digit = HEX[byte] ?? 0;
    if (digit > 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) return 'failed';
      // In this order: 2^53 + 1 would be rounded before 1 is taken off again.
      this.#size = this.#size * 16 + (digit - 1);
      return Number.isSafeInteger(this.#size) ? 'size' : 'failed';
    }
    if (this.#digits === 0) return 'failed';
    if (byte === CR) return 'size_lf';
    return byte === SEMICOLON ? this.#extension('extension') : 'failed';
  }

  #endExtension(byte: number): State {
    if (byte === CR) return 'size_lf';
    return byte === SEMICOLON ? this.#extension('extension') : 'failed';
  }

  #readTrailerName(byte: number): State {
    this.#trailerName += String.fromCharCode(byte);
    return isToken(byte) ? this.#trailer('trailer_name') : 'failed';
  }

  #keepTrailer(): void {
    if (!mayBeTrailer(this.#trailerName.toLowerCase())) return;
    this.trailers += fieldLine(this.#trailerName, this.#trailerValue) ?? '';
  }

  #extension(state: State): State {
    return ++this.#extensionBytes > MAX_EXTENSIONS ? 'failed' : state;
  }

  #trailer(state: State): State {
    return ++this.#trailerBytes > MAX_TRAILERS ? 'failed' : state;
  }
}

function isToken(byte: number): boolean {
  return (TOKEN[byte] ?? 0) > 0;
}
