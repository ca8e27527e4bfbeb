/** What a client may have us do for nothing before its connection is ended, and what is forgiven. */

/** Streams opened and reset: so many at once, so many a second on. */
const RESET_BURST = 200;
const RESETS_PER_SECOND = 30;

/** A bucket that fills with time. */
export class Allowance {
  #left = RESET_BURST;
  #at: number;

  /** `now` in milliseconds of a monotonic clock, as in `take`. */
  constructor(now: number) {
    this.#at = now;
  }

  /** False: there is none left. */
  take(now: number): boolean {
    this.#left = Math.min(RESET_BURST, this.#left + ((now - this.#at) * RESETS_PER_SECOND) / 1000);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** Frames of half a second that say nothing or only want an answer. */
const MAX_IDLE_FRAMES = 50;
/** Frames of half a second that cost little: what is obsolete or unknown, and updates of windows beside one for each so many bytes of answers. */
const MAX_CHEAP_FRAMES = 1_000;
const BYTES_PER_UPDATE = 512;

export class FrameBudget {
  #idle = 0;
  #cheap = 0;
  #given = 0;

  /** Half a second has passed. */
  renew(): void {
    this.#idle = 0;
    this.#cheap = 0;
  }

  spend(): boolean {
    return ++this.#idle <= MAX_IDLE_FRAMES;
  }

  spendLittle(): boolean {
    return ++this.#cheap <= MAX_CHEAP_FRAMES;
  }

  /** `given`: bytes of answers so far. */
  spendUpdate(given: number): boolean {
    if (given - this.#given >= BYTES_PER_UPDATE) {
      this.#given += BYTES_PER_UPDATE;
      return true;
    }
    return this.spendLittle();
  }
}

const MAX_FORGIVEN = 256;

/** Streams that were reset while their client may still be sending on them: what comes is ignored (RFC 9113 section 5.1). */
export class Forgiven {
  readonly #ids = new Set<number>();

  add(id: number): void {
    if (this.#ids.size >= MAX_FORGIVEN) this.#ids.delete(this.#ids.values().next().value ?? 0);
    this.#ids.add(id);
  }

  has(id: number): boolean {
    return this.#ids.has(id);
  }
}
