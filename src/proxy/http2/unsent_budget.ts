/**
 * Bounds what clients of HTTP/2 leave lying here. An answer is read from its worker until some 128 KiB of it wait for the
 * client, and a client with many streams on many connections, none of whose windows it opens, would have gigabytes wait
 * (CVE-2019-9517). Whoever takes what he gets, however slowly, is never disturbed, nor is who holds no more than any
 * connection of HTTP/1.1 may.
 */
export interface Holder {
  /** Bytes of answers it was given so far. */
  readonly given: number;
  /** How many of them wait for the client. */
  unsentBytes(): number;
  /** Ends the connection. */
  evict(): void;
}

/** Of all clients of a process. */
const BUDGET = 64 * 1024 * 1024;
/** What one connection may hold in any case. */
const FAIR_SHARE = 1024 * 1024;
/** After so much was given to clients, it is looked at again. */
const AUDIT_EVERY = 4 * 1024 * 1024;
/** Who takes less than so much in so long does not read: 16 KiB a second. */
const PROGRESS_BYTES = 16 * 1024;
const PROGRESS_MS = 1_000;

/** What a holder had taken at a time. */
interface Mark {
  readonly at: number;
  readonly sent: number;
}

export class UnsentBudget {
  readonly #marks = new Map<Holder, Mark>();
  readonly #now: () => number;
  #given = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  add(holder: Holder): void {
    this.#marks.set(holder, { at: this.#now(), sent: 0 });
  }

  delete(holder: Holder): void {
    this.#marks.delete(holder);
  }

  /** To be called with everything that is given to a holder. */
  onGiven(bytes: number): void {
    this.#given += bytes;
    if (this.#given < AUDIT_EVERY) return;
    this.#given = 0;
    this.#audit();
  }

  #audit(): void {
    const now = this.#now();
    const stuck: { readonly holder: Holder; readonly unsent: number }[] = [];
    let total = 0;
    for (const [holder, mark] of this.#marks) {
      const unsent = holder.unsentBytes();
      total += unsent;
      if (now - mark.at < PROGRESS_MS) continue;
      const sent = holder.given - unsent;
      if (unsent > FAIR_SHARE && sent - mark.sent < PROGRESS_BYTES) stuck.push({ holder, unsent });
      else this.#marks.set(holder, { at: now, sent });
    }
    stuck.sort((a, b) => b.unsent - a.unsent);
    for (const { holder, unsent } of stuck) {
      if (total <= BUDGET) return;
      total -= unsent;
      holder.evict();
    }
  }
}
