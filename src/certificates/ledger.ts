/**
 * The memory that keeps a broken program from spending a CA's patience: every order, issuance, failure and "not before"
 * of the CA, durable, per account and set of names, consulted before each order.
 */
export type Verdict =
  | { readonly ok: true }
  /** `until` in milliseconds since the epoch; the reason is for people. */
  | { readonly ok: false; readonly until: number; readonly reason: string };

/** One order's place in the ledger. */
export interface OrderKey {
  /** Directory URL. */
  readonly ca: string;
  readonly names: readonly string[];
}

export interface OrderIntent extends OrderKey {
  /** A renewal the CA asked for (ARI) counts for no limit. */
  readonly exempt: boolean;
  /** An operator wants it all the same; the CA's own limits still hold. */
  readonly force: boolean;
  /** Of the certificate to be replaced, in milliseconds; null: there is none. */
  readonly lifeMs: number | null;
}

export interface Ledger {
  /** Whether an order may be made now. */
  mayOrder(intent: OrderIntent): Promise<Verdict>;
  ordered(key: OrderKey): Promise<void>;
  issued(key: OrderKey): Promise<void>;
  /** A name that failed its validation. */
  validationFailed(ca: string, name: string): Promise<void>;
  /** The CA's Retry-After: for this set of names, or with `names` null for everything asked of it. */
  parked(ca: string, names: readonly string[] | null, until: number, reason: string): Promise<void>;
  /** For people: issuances of the set within seven days, and how many the CA allows (null: not known). */
  budget(
    key: OrderKey,
  ): Promise<{ readonly issued: number; readonly allowed: number | null; readonly nextAt: number | null }>;
  accountCreated(ca: string): Promise<void>;
  /** Refuses a third account within a day. */
  mayCreateAccount(ca: string): Promise<Verdict>;
}
