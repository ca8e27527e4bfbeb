/** Where a server's WebSocket frames begin and end (RFC 6455 section 5.2), told from their heads alone. */

/** A server's Close with status 1012, "service restart" (IANA's registry): the client should come again. */
export const CLOSE_RESTART = Buffer.from([0x88, 0x02, 0x03, 0xf4]);

const CLOSE = 8;

export class FrameBounds {
  /** Bytes of the present frame's head that have come. */
  #headBytes = 0;
  #headLength = 2;
  #length = 0;
  /** Of its payload, what is to come. */
  #left = 0;
  #opcode = 0;
  #closed = false;

  /** A frame of ours may be written here: none is under way, and none said that it is the last. */
  get isBetween(): boolean {
    return this.#headBytes === 0 && this.#left === 0 && !this.#closed;
  }

  read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
      } else {
        this.#readHead(chunk[at] ?? 0);
        at++;
      }
    }
  }

  #readHead(byte: number): void {
    const at = this.#headBytes++;
    if (at === 0) {
      this.#opcode = byte & 0x0f;
      this.#headLength = 2;
      this.#length = 0;
    } else if (at === 1) {
      const length = byte & 0x7f;
      if (length === 126) this.#headLength = 4;
      else if (length === 127) this.#headLength = 10;
      else this.#length = length;
      // No server may mask (section 5.1), but a frame that is must not have us write into it.
      if (byte >= 0x80) this.#closed = true;
    } else {
      this.#length = this.#length * 256 + byte;
    }
    if (this.#headBytes < this.#headLength) return;
    this.#headBytes = 0;
    this.#left = this.#length;
    if (this.#opcode === CLOSE) this.#closed = true;
  }
}
