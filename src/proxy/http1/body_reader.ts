/** The body of a message in its framing (RFC 9112 section 6.3), a client's or a worker's. */
import { ChunkedDecoder, DECODED_DATA, DECODED_END, DECODED_ERROR } from './chunked.ts';

/** none: there is no body. close: it ends with the connection. */
export type BodyKind = 'none' | 'length' | 'chunked' | 'close';

export const BODY_INVALID = -1;
/** The sink wanted no more. */
export const BODY_REFUSED = -2;

export interface BodySink {
  /** Returns false to have the rest left unread. */
  onBody(piece: Buffer): boolean;
}

export class BodyReader {
  /** Everything was read. Of kind `close` only the connection's end is. */
  complete = true;
  #kind: BodyKind = 'none';
  #remaining = 0;
  #decoder: ChunkedDecoder | null = null;

  /** What came behind the body and may be passed on: field lines, each with its CRLF. */
  get trailers(): string {
    return this.#kind === 'chunked' ? (this.#decoder?.trailers ?? '') : '';
  }

  begin(kind: BodyKind, length: number): void {
    this.#kind = kind;
    this.complete = kind === 'none' || (kind === 'length' && length === 0);
    if (kind === 'length') this.#remaining = length;
    else if (kind === 'chunked') (this.#decoder ??= new ChunkedDecoder()).reset();
  }

  /**
   * Hands to `sink` what belongs to the body of `chunk`, from `at` on. Returns the index just past it, `BODY_INVALID` or
   * `BODY_REFUSED`.
   */
  read(chunk: Buffer, at: number, sink: BodySink): number {
    if (this.#kind === 'chunked' && this.#decoder !== null) return this.#readChunks(this.#decoder, chunk, at, sink);
    const end = this.#kind === 'length' ? Math.min(chunk.length, at + this.#remaining) : chunk.length;
    this.#remaining -= end - at;
    this.complete = this.#kind === 'length' && this.#remaining === 0;
    if (end > at && !sink.onBody(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end)))
      return BODY_REFUSED;
    return end;
  }

  #readChunks(decoder: ChunkedDecoder, chunk: Buffer, at: number, sink: BodySink): number {
    let next = at;
    while (next < chunk.length) {
      const code = decoder.next(chunk, next);
      next = decoder.position;
      if (code === DECODED_DATA) {
        if (!sink.onBody(chunk.subarray(decoder.dataStart, decoder.dataEnd))) return BODY_REFUSED;
      } else if (code === DECODED_END) {
        this.complete = true;
        return next;
      } else if (code === DECODED_ERROR) {
        return BODY_INVALID;
      }
    }
    return next;
  }
}
