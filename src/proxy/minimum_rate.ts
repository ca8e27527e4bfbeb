/** Notices who is slower than a byte rate, measured over some seconds at a time; a moment's pause is no slowness. */
const WINDOW_MS = 5_000;

export class MinimumRate {
  #since = 0;
  #bytes = 0;

  /** `bytes` only grows. `waiting`: something is to be moved, and not held up by us. `rate`: bytes a second; 0: any will do. */
  isTooSlow(bytes: number, waiting: boolean, now: number, rate: number): boolean {
    if (rate === 0 || !waiting) {
      this.#since = 0;
      return false;
    }
    if (this.#since === 0) {
      this.#since = now;
      this.#bytes = bytes;
      return false;
    }
    const elapsed = now - this.#since;
    if (elapsed < WINDOW_MS) return false;
    const moved = bytes - this.#bytes;
    this.#since = now;
    this.#bytes = bytes;
    return moved * 1000 < rate * elapsed;
  }
}
