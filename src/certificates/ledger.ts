/**
 * The memory that keeps a broken program from spending a CA's patience: every order, issuance, failure and "not before"
 * of the CA, durable, per account and set of names, consulted before each order.
 */
import { createHash } from 'node:crypto';
import net from 'node:net';
import { ACCOUNTS, allowedAt, FAILURES_PER_NAME, limitsOf, ORDERS_IN_A_TIME, ownLimits } from './limits.ts';
import type { Limit } from './limits.ts';
import { createPace } from '../pace.ts';
import type { Storage } from './storage/storage.ts';
import { issuerSlug } from './store.ts';

/** Nothing counts for longer; orders themselves, of which there are many, not even that long. */
const KEPT_MS = 7 * 86_400_000;
const ORDERS_KEPT_MS = 3 * 3_600_000;

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
  /** To be awaited right before the order is made: it also keeps many from being made at once. */
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

interface Page {
  /** Milliseconds since the epoch, in the order they happened. */
  readonly ordered: readonly number[];
  readonly issued: readonly number[];
  readonly failed: readonly number[];
  readonly parkedUntil: number;
  readonly parkedBecause: string;
}
const BLANK: Page = { ordered: [], issued: [], failed: [], parkedUntil: 0, parkedBecause: '' };

const NEVER = new AbortController().signal;

/** A ledger that is kept in `storage`; `now` in milliseconds since the epoch. */
export function createLedger(
  storage: Storage,
  now: () => number = Date.now,
  pace = createPace(ORDERS_IN_A_TIME.count, ORDERS_IN_A_TIME.withinMs),
): Ledger {
  const recent = (times: readonly number[], withinMs: number): number[] => times.filter((at) => at > now() - withinMs);
  const read = async (key: string): Promise<Page> => parsePage(await storage.read(key));
  /** One writer at a time, of all instances: a count that is lost would be an order too many. */
  const change = (ca: string, key: string, edit: (page: Page) => Page): Promise<void> =>
    storage.withLock(`ledger-${issuerSlug(ca)}`, AbortSignal.timeout(30_000), async () => {
      const { ordered, issued, failed, ...parked } = edit(await read(key));
      const kept = {
        ordered: recent(ordered, ORDERS_KEPT_MS),
        issued: recent(issued, KEPT_MS),
        failed: recent(failed, KEPT_MS),
      };
      await storage.write(key, `${JSON.stringify({ ...kept, ...parked })}\n`);
    });

  return {
    mayOrder: async ({ ca, names, exempt, force, lifeMs }) => {
      const at = now();
      const limits = limitsOf(ca);
      const [whole, set] = await Promise.all([read(caKey(ca)), read(setKey(ca, names))]);
      for (const page of [whole, set]) if (page.parkedUntil > at) return refuse(page.parkedUntil, page.parkedBecause);
      for (const name of force ? [] : names) {
        const { failed } = await read(nameKey(ca, name));
        const until = allowedAt(failed, FAILURES_PER_NAME, at);
        if (until > at)
          return refuse(until, `${name} failed its validation ${FAILURES_PER_NAME.count} times within an hour`);
      }
      // Let's Encrypt counts a renewal that it asked for nowhere.
      if (exempt) return { ok: true };
      for (const limit of force ? [] : ownLimits(lifeMs)) {
        const until = allowedAt(set.issued, limit, at);
        if (until > at) return refuse(until, `${describe(limit)} of exactly these names, which looks like a loop`);
      }
      const checks: [readonly number[], Limit | null, string][] = [
        [set.issued, limits.perSet, 'of exactly these names'],
        [whole.ordered, limits.orders, 'of this account'],
      ];
      if (limits.perDomain !== null && set.issued.length === 0 && lifeMs === null) {
        for (const domain of await registeredDomains(names)) {
          checks.push([(await read(domainKey(ca, domain))).issued, limits.perDomain, `below ${domain}`]);
        }
      }
      for (const [times, limit, what] of checks) {
        const until = allowedAt(times, limit, at);
        if (limit !== null && until > at) return refuse(until, `${describe(limit)} ${what}, which is the CA's limit`);
      }
      return { ok: true };
    },
    ordered: async ({ ca }) => {
      await change(ca, caKey(ca), (page) => ({ ...page, ordered: [...page.ordered, now()] }));
      await pace(NEVER);
    },
    issued: async ({ ca, names }) => {
      const key = setKey(ca, names);
      const isNew = (await read(key)).issued.length === 0;
      await change(ca, key, (page) => ({ ...BLANK, issued: [...page.issued, now()] }));
      if (!isNew || limitsOf(ca).perDomain === null) return;
      for (const domain of await registeredDomains(names)) {
        await change(ca, domainKey(ca, domain), (page) => ({ ...page, issued: [...page.issued, now()] }));
      }
    },
    validationFailed: (ca, name) =>
      change(ca, nameKey(ca, name), (page) => ({ ...page, failed: [...page.failed, now()] })),
    parked: (ca, names, until, reason) =>
      change(ca, names === null ? caKey(ca) : setKey(ca, names), (page) => ({
        ...page,
        parkedUntil: until,
        parkedBecause: reason,
      })),
    budget: async ({ ca, names }) => {
      const { issued } = await read(setKey(ca, names));
      const { perSet } = limitsOf(ca);
      const until = allowedAt(issued, perSet, now());
      return {
        issued: recent(issued, KEPT_MS).length,
        allowed: perSet?.count ?? null,
        nextAt: until > now() ? until : null,
      };
    },
    accountCreated: (ca) => change(ca, accountsKey(ca), (page) => ({ ...page, issued: [...page.issued, now()] })),
    mayCreateAccount: async (ca) => {
      const until = allowedAt((await read(accountsKey(ca))).issued, ACCOUNTS, now());
      return until > now()
        ? refuse(until, `${describe(ACCOUNTS)} accounts were made: is the storage kept?`)
        : { ok: true };
    },
  };
}

/** For trial orders: allows everything and remembers nothing. */
export function createTrialLedger(): Ledger {
  const yes = (): Promise<Verdict> => Promise.resolve({ ok: true });
  const nothing = (): Promise<void> => Promise.resolve();
  return {
    mayOrder: yes,
    mayCreateAccount: yes,
    ordered: nothing,
    issued: nothing,
    validationFailed: nothing,
    parked: nothing,
    accountCreated: nothing,
    budget: () => Promise.resolve({ issued: 0, allowed: null, nextAt: null }),
  };
}

function refuse(until: number, reason: string): Verdict {
  return { ok: false, until, reason };
}

function describe({ count, withinMs }: Limit): string {
  const hours = withinMs / 3_600_000;
  const span =
    hours >= 48
      ? `${Math.round(hours / 24)} days`
      : hours >= 1
        ? `${Math.round(hours)} h`
        : `${Math.round(withinMs / 1000)} s`;
  return `${count} within ${span}`;
}

function caKey(ca: string): string {
  return `ledger/${issuerSlug(ca)}/orders.json`;
}

function accountsKey(ca: string): string {
  return `ledger/${issuerSlug(ca)}/accounts.json`;
}

function setKey(ca: string, names: readonly string[]): string {
  const digest = createHash('sha256').update(names.toSorted().join()).digest('hex').slice(0, 32);
  return `ledger/${issuerSlug(ca)}/sets/${digest}.json`;
}

function nameKey(ca: string, name: string): string {
  return `ledger/${issuerSlug(ca)}/names/${createHash('sha256').update(name).digest('hex').slice(0, 32)}.json`;
}

function domainKey(ca: string, domain: string): string {
  return `ledger/${issuerSlug(ca)}/domains/${createHash('sha256').update(domain).digest('hex').slice(0, 32)}.json`;
}

/** What Let's Encrypt counts certificates by: domains below public suffixes, IPv4 addresses, /64 of IPv6. */
export async function registeredDomains(names: readonly string[]): Promise<readonly string[]> {
  // Only asked before the first order of a set: most starts need not load the list.
  const { getDomain } = await import('tldts');
  const domains = names.map((name) => {
    if (net.isIPv6(name)) return `${expand(name).slice(0, 4).join(':')}::/64`;
    if (net.isIPv4(name)) return name;
    const bare = name.replace(/^\*\./, '');
    return getDomain(bare, { allowPrivateDomains: true }) ?? bare;
  });
  return [...new Set(domains)];
}

/** The eight groups of an address without an embedded IPv4 one. */
function expand(address: string): string[] {
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  return [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
}

function parsePage(text: string | null): Page {
  if (text === null) return BLANK;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return BLANK;
    const { ordered, issued, failed, parkedUntil, parkedBecause } = value as Record<string, unknown>;
    return {
      ordered: numbers(ordered),
      issued: numbers(issued),
      failed: numbers(failed),
      parkedUntil: typeof parkedUntil === 'number' ? parkedUntil : 0,
      parkedBecause: typeof parkedBecause === 'string' ? parkedBecause : '',
    };
  } catch {
    // Half a ledger is worth as much as none; it is written whole or not at all.
    return BLANK;
  }
}

function numbers(value: unknown): number[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'number') : [];
}
