/** What the other side may still send (RFC 9113 section 6.9), and when it is told that it may send more. */
export class ReceiveWindow {
  readonly #size: number;
  #left: number;
  /** Taken by who wanted it, and not yet told. */
  #taken = 0;

  constructor(size: number) {
    this.#size = size;
    this.#left = size;
  }

  /** Makes it ready for another stream. */
  reopen(): void {
    this.#left = this.#size;
    this.#taken = 0;
  }

  /** Bytes have come; false: more than it may send. */
  receive(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** Bytes have been taken. Returns by how much to open the window now: by half of it at a time, or not. */
  take(bytes: number): number {
    this.#taken += bytes;
    if (this.#taken < this.#size / 2) return 0;
    const increment = this.#taken;
    this.#left += increment;
    this.#taken = 0;
    return increment;
  }
}
