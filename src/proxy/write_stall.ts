/** Notices a client that takes nothing of what is written for it. */
export class WriteStall {
  #since = 0;
  #length = 0;

  /** `length` is what waits to be written; true when it has not moved for `limitMs`. */
  check(length: number, now: number, limitMs: number): boolean {
    if (length === 0 || length !== this.#length || this.#since === 0) {
      this.#length = length;
      this.#since = length === 0 ? 0 : now;
      return false;
    }
    return now - this.#since >= limitMs;
  }

  reset(): void {
    this.#since = 0;
  }
}
