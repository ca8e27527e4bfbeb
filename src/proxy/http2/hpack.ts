/**
 * HPACK (RFC 7541). Decoding keeps fields as what the caller makes of them, so that one a client says again and again, by
 * its place in the table, is understood once. Encoding needs no table and no state.
 */
import { decodeHuffman } from './huffman.ts';

/** RFC 7541 appendix A. */
const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = (
  ':authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|' +
  ':status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|' +
  'accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|' +
  'content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|' +
  'cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|' +
  'last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|' +
  'server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate'
)
  .split('|')
  .map((entry) => {
    const blank = entry.indexOf(' ');
    return blank < 0 ? [entry, ''] : [entry.slice(0, blank), entry.slice(blank + 1)];
  });

/** RFC 7541 section 4.1. */
const ENTRY_OVERHEAD = 32;
/** What we let a client's encoder use: the default, of which no client needs to be told. */
const TABLE_SIZE = 4096;
/** No field that we take is longer. */
const MAX_TEXT = 64 * 1024;

export interface HpackField {
  readonly name: string;
  readonly value: string;
}

/** A block is not valid: the connection cannot go on (RFC 7541 section 2.2). */
export const HPACK_INVALID = -1;
/** It is valid, but says more than was asked for; the rest was read for the table's sake alone. */
export const HPACK_TOO_LARGE = 1;

const textBuffer = Buffer.allocUnsafeSlow(MAX_TEXT);

export class HpackDecoder<Field extends HpackField> {
  readonly #make: (name: string, value: string) => Field;
  readonly #statics: readonly Field[];
  /** The dynamic table, oldest first. */
  #entries: Field[] = [];
  #evicted = 0;
  #size = 0;
  #maxSize = TABLE_SIZE;
  // Of the block that is being read.
  #bytes: Buffer = textBuffer;
  #at = 0;
  #end = 0;

  /** `statics` are what `createStaticFields` made of the same function. */
  constructor(make: (name: string, value: string) => Field, statics: readonly Field[]) {
    this.#make = make;
    this.#statics = statics;
  }

  /**
   * Appends the fields of a whole block, bytes `start` to `end`, to `out`, as long as their names and values come to
   * `maxBytes` at most. Returns 0, `HPACK_TOO_LARGE` or `HPACK_INVALID`.
   */
  decode(bytes: Buffer, start: number, end: number, out: Field[], maxBytes: number): number {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    let left = maxBytes;
    let first = true;
    while (this.#at < end) {
      const byte = bytes[this.#at] ?? 0;
      let field: Field | null;
      if ((byte & 0x80) !== 0) {
        field = this.#entry(this.#integer(7));
      } else if ((byte & 0xe0) === 0x20) {
        // RFC 7541 section 4.2: only in front.
        const size = this.#integer(5);
        if (!first || size < 0 || size > TABLE_SIZE) return HPACK_INVALID;
        this.#maxSize = size;
        this.#evict(0);
        continue;
      } else {
        const indexed = (byte & 0x40) !== 0;
        field = this.#literal(indexed ? 6 : 4);
        if (indexed && field !== null) this.#add(field);
      }
      if (field === null) return HPACK_INVALID;
      first = false;
      left -= field.name.length + field.value.length;
      if (left >= 0) out.push(field);
    }
    return left < 0 ? HPACK_TOO_LARGE : 0;
  }

  #entry(index: number): Field | null {
    if (index <= 0) return null;
    if (index <= this.#statics.length) return this.#statics[index - 1] ?? null;
    const age = index - this.#statics.length;
    const at = this.#entries.length - age;
    return at < this.#evicted ? null : (this.#entries[at] ?? null);
  }

  #literal(prefix: number): Field | null {
    const index = this.#integer(prefix);
    if (index < 0) return null;
    const name = index === 0 ? this.#text() : (this.#entry(index)?.name ?? null);
    if (name === null) return null;
    const value = this.#text();
    return value === null ? null : this.#make(name, value);
  }

  /** RFC 7541 section 5.1; -1 when it does not end or is larger than anything we know. */
  #integer(bits: number): number {
    const max = (1 << bits) - 1;
    let value = (this.#bytes[this.#at++] ?? 0) & max;
    if (value < max) return value;
    for (let shift = 0; shift <= 21 && this.#at < this.#end; shift += 7) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return -1;
  }

  #text(): string | null {
    if (this.#at >= this.#end) return null;
    const coded = ((this.#bytes[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    if (length < 0 || length > this.#end - start) return null;
    this.#at = start + length;
    if (!coded) return this.#bytes.toString('latin1', start, start + length);
    const decoded = decodeHuffman(this.#bytes, start, start + length, textBuffer);
    return decoded < 0 ? null : textBuffer.toString('latin1', 0, decoded);
  }

  #add(field: Field): void {
    const size = field.name.length + field.value.length + ENTRY_OVERHEAD;
    this.#evict(size);
    // RFC 7541 section 4.4: an entry larger than the table leaves it empty, and is no error.
    if (size > this.#maxSize) return;
    this.#entries.push(field);
    this.#size += size;
  }

  /** Makes room for `wanted` bytes. */
  #evict(wanted: number): void {
    while (this.#size > 0 && this.#size + wanted > this.#maxSize) {
      const oldest = this.#entries[this.#evicted++];
      if (oldest !== undefined) this.#size -= oldest.name.length + oldest.value.length + ENTRY_OVERHEAD;
    }
    if (this.#evicted < 64) return;
    this.#entries = this.#entries.slice(this.#evicted);
    this.#evicted = 0;
  }
}

export function createStaticFields<Field>(make: (name: string, value: string) => Field): readonly Field[] {
  return STATIC_TABLE.map(([name, value]) => make(name, value));
}

const STATIC_NAMES = new Map<string, number>();
STATIC_TABLE.forEach(([name], i) => {
  if (!STATIC_NAMES.has(name)) STATIC_NAMES.set(name, i + 1);
});
const STATUS_NAME = STATIC_NAMES.get(':status') ?? 0;
const STATUS = new Map(
  STATIC_TABLE.flatMap(([name, value], i) => (name === ':status' ? [[Number(value), i + 1]] : [])),
);

/** RFC 7541 section 6.3: what tells a decoder that we keep no table, at the beginning of a connection's first block. */
export const NO_TABLE = 0x20;

/** Upper bound of what `encodeStatus`, a `content-length` and the id of a request come to. */
export const MAX_OWN_FIELDS = 128;

/** Writes `:status`; returns where it ends. */
export function encodeStatus(status: number, out: Buffer, at: number): number {
  const index = STATUS.get(status);
  if (index === undefined) return encodeText(String(status), out, encodeInteger(STATUS_NAME, 4, 0, out, at));
  out[at] = 0x80 | index;
  return at + 1;
}

/** Writes a field that no table is to keep; `name` in lower case. Returns where it ends. */
export function encodeField(name: string, value: string, out: Buffer, at: number): number {
  const index = STATIC_NAMES.get(name) ?? 0;
  const end = encodeInteger(index, 4, 0, out, at);
  return encodeText(value, out, index === 0 ? encodeText(name, out, end) : end);
}

/** An answer's field lines as a block, each line with its CRLF, of our own writing. What is said often is encoded once. */
export function encodeLines(lines: string): Buffer {
  let block = encoded.get(lines);
  if (block === undefined) {
    block = encodeAnew(lines);
    if (encoded.size >= MAX_REMEMBERED) encoded.clear();
    if (lines.length <= MAX_REMEMBERED_LENGTH) encoded.set(lines, block);
  }
  return block;
}

const encoded = new Map<string, Buffer>();
const MAX_REMEMBERED = 256;
const MAX_REMEMBERED_LENGTH = 2048;

function encodeAnew(lines: string): Buffer {
  // A line loses `: ` and CRLF and gains at most four bytes for each of its two lengths.
  const out = Buffer.allocUnsafe(lines.length + 8 * (lines.split('\r\n').length + 1));
  let end = 0;
  for (let at = 0; at < lines.length;) {
    const lineEnd = lines.indexOf('\r\n', at);
    const colon = lines.indexOf(':', at);
    end = encodeField(lines.slice(at, colon).toLowerCase(), lines.slice(colon + 2, lineEnd), out, end);
    at = lineEnd + 2;
  }
  return Buffer.from(out.subarray(0, end));
}

function encodeText(text: string, out: Buffer, at: number): number {
  const start = encodeInteger(text.length, 7, 0, out, at);
  return start + out.write(text, start, 'latin1');
}

function encodeInteger(value: number, bits: number, flags: number, out: Buffer, at: number): number {
  const max = (1 << bits) - 1;
  if (value < max) {
    out[at] = flags | value;
    return at + 1;
  }
  out[at++] = flags | max;
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out[at++] = (rest & 127) | 128;
  out[at] = rest;
  return at + 1;
}
