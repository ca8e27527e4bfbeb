/** What CAs let one account, name or set of names do, as far as it is known, and what we allow ourselves below that. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export interface Limit {
  readonly count: number;
  readonly withinMs: number;
}

/** null: not known, so not counted. */
export interface CaLimits {
  /** Issuances of exactly one set of names. */
  readonly perSet: Limit | null;
  /** Issuances of new sets below one registered domain. */
  readonly perDomain: Limit | null;
  readonly orders: Limit | null;
}

/** Let's Encrypt's page on rate limits, 2026-08-05. */
const LETSENCRYPT: CaLimits = {
  perSet: { count: 5, withinMs: 7 * DAY },
  perDomain: { count: 50, withinMs: 7 * DAY },
  orders: { count: 300, withinMs: 3 * HOUR },
};
const LETSENCRYPT_STAGING: CaLimits = {
  perSet: { count: 30_000, withinMs: 7 * DAY },
  perDomain: null,
  orders: { count: 1_500, withinMs: 3 * HOUR },
};
const UNKNOWN: CaLimits = { perSet: null, perDomain: null, orders: null };

export function limitsOf(ca: string): CaLimits {
  switch (new URL(ca).host) {
    case 'acme-v02.api.letsencrypt.org':
      return LETSENCRYPT;
    case 'acme-staging-v02.api.letsencrypt.org':
      return LETSENCRYPT_STAGING;
    default:
      return UNKNOWN;
  }
}

/** Let's Encrypt pauses a name after five failures in an hour: the last one is the operator's. */
export const FAILURES_PER_NAME: Limit = { count: 4, withinMs: HOUR };
/** No CA says so, and all would rather have orders spread than in a burst. */
export const ORDERS_IN_A_TIME: Limit = { count: 10, withinMs: 10_000 };
/** An account that is lost again and again is a fault of ours, or of where it is kept. */
export const ACCOUNTS: Limit = { count: 2, withinMs: DAY };

/**
 * Of one set of names, without an operator's or the CA's wish: a third issuance within seven days would be a loop, and so
 * would a second one within the hour. Certificates that live shorter are renewed more often than that by right: theirs are
 * less than a life, and less than half of one.
 */
export function ownLimits(lifeMs: number | null): readonly Limit[] {
  const life = lifeMs ?? Infinity;
  return [
    { count: 2, withinMs: Math.min(7 * DAY, life * 0.9) },
    { count: 1, withinMs: Math.min(HOUR, life * 0.4) },
  ];
}

/** When one more is allowed, in milliseconds since the epoch; 0: now. */
export function allowedAt(times: readonly number[], limit: Limit | null, now: number): number {
  if (limit === null) return 0;
  const recent = times.filter((at) => at > now - limit.withinMs).toSorted((a, b) => b - a);
  const decisive = recent[limit.count - 1];
  return decisive === undefined ? 0 : decisive + limit.withinMs;
}
