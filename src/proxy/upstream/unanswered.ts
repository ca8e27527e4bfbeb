/**
 * The requests a target owes an answer, oldest first: a list through the requests themselves, so that joining and leaving
 * it costs a few assignments and no memory.
 */
export interface Unanswered {
  /** Since when, by the clock. */
  askedAt: number;
  /** Of the list's; null at its ends, and for who is in none. */
  older: Unanswered | null;
  newer: Unanswered | null;
}

export class UnansweredList {
  #oldest: Unanswered | null = null;
  #newest: Unanswered | null = null;

  /** It is in no list. */
  add(request: Unanswered, now: number): void {
    request.askedAt = now;
    request.newer = null;
    request.older = this.#newest;
    if (this.#newest === null) this.#oldest = request;
    else this.#newest.newer = request;
    this.#newest = request;
  }

  /** It is in this list. */
  remove(request: Unanswered): void {
    const { older, newer } = request;
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    request.older = null;
    request.newer = null;
  }

  /** 0: nobody waits. */
  oldestMs(now: number): number {
    return this.#oldest === null ? 0 : Math.max(1, Math.round(now - this.#oldest.askedAt));
  }
}
