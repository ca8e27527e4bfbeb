/**
 * dns-persist-01 (draft-ietf-acme-dns-persist): a record the operator makes once, which lets one account of one CA have
 * certificates for a name for as long as it stands. Nothing is made here: the record is worked out, and looked for.
 */
import { ChallengeError } from './challenge_error.ts';
import type { DnsLookup } from './dns_lookup.ts';
import type { Solver } from './solver.ts';

export interface PersistentRecord {
  readonly name: string;
  /** Of the TXT record, without quotes. */
  readonly value: string;
}

export interface PersistentGrant {
  /** Without `*.`. */
  readonly name: string;
  /** What the CA calls itself in CAA records. */
  readonly issuerDomain: string;
  readonly accountUrl: string;
  /** Whether `*.name` and all below are meant, too. */
  readonly wildcard: boolean;
  /** Milliseconds since the epoch after which it no longer counts; null: until it is removed. */
  readonly until: number | null;
}

export function persistentRecord({
  name,
  issuerDomain,
  accountUrl,
  wildcard,
  until,
}: PersistentGrant): PersistentRecord {
  const parts = [issuerDomain, `accounturi=${accountUrl}`];
  if (wildcard) parts.push('policy=wildcard');
  if (until !== null) parts.push(`persistUntil=${Math.floor(until / 1000)}`);
  return { name: `_validation-persist.${name}`, value: parts.join('; ') };
}

/** null: one of `values` grants it; else what is wrong with what is there. */
export function missingFromRecords(values: readonly string[], grant: PersistentGrant, now: number): string | null {
  if (values.length === 0) return 'there is no such record';
  const reasons = values.map((value) => reasonAgainst(value, grant, now));
  return reasons.includes(null) ? null : reasons.join('; ');
}

function reasonAgainst(value: string, grant: PersistentGrant, now: number): string | null {
  const [issuer = '', ...attributes] = value.split(';').map((part) => part.trim());
  if (issuer.toLowerCase().replace(/\.$/, '') !== grant.issuerDomain.toLowerCase())
    return `one is for ${issuer || 'nobody'}`;
  const tags = new Map<string, string>();
  for (const attribute of attributes) {
    const match = /^([A-Za-z0-9-]+)\s*=\s*([\x21-\x3a\x3c-\x7e]*)$/.exec(attribute);
    // CAs refuse what they cannot read, a final semicolon included.
    if (match === null) return `one has the part "${attribute}", which is no name=value`;
    const tag = (match[1] ?? '').toLowerCase();
    if (tags.has(tag)) return `one has "${tag}" twice`;
    tags.set(tag, match[2] ?? '');
  }
  const account = tags.get('accounturi');
  if (account !== grant.accountUrl)
    return `one is for ${account === undefined ? 'no account' : `the account ${account}`}`;
  if (grant.wildcard && tags.get('policy')?.toLowerCase() !== 'wildcard') return 'one lacks policy=wildcard';
  const until = tags.get('persistuntil');
  if (until === undefined) return null;
  if (!/^\d+$/.test(until)) return `one has persistUntil=${until}, which is no time in seconds`;
  return Number(until) * 1000 > now ? null : `one ended at ${new Date(Number(until) * 1000).toISOString()}`;
}

export interface PersistentWish {
  /** Without `*.`. */
  readonly name: string;
  readonly wildcard: boolean;
  readonly accountUrl: string;
  /** Any of them will do; none: what is known of the account's CA. */
  readonly issuerDomains: readonly string[];
}

/** The record that is to be made, and what is wrong with what DNS shows now; `missing` null: nothing. */
export async function lookForPersistentRecord(
  lookup: DnsLookup,
  { name, wildcard, accountUrl, issuerDomains }: PersistentWish,
  now: number,
): Promise<{ readonly record: PersistentRecord; readonly missing: string | null }> {
  const [first = issuerOf(accountUrl), ...others] = issuerDomains;
  const grant: PersistentGrant = { name, issuerDomain: first, accountUrl, wildcard, until: null };
  const record = persistentRecord(grant);
  const answer = await lookup.txt(record.name);
  if (answer.state !== 'answered') return { record, missing: `DNS does not answer (${answer.code})` };
  const grants = [grant, ...others.map((issuerDomain) => ({ ...grant, issuerDomain }))];
  const missing = grants.map((one) => missingFromRecords(answer.values, one, now));
  return { record, missing: missing.includes(null) ? null : (missing[0] ?? null) };
}

export function createDnsPersist01({ lookup }: { readonly lookup: DnsLookup }): Solver {
  return {
    type: 'dns-persist-01',
    solves: ({ type }) => type === 'dns',
    arm: async ({ identifier, wildcard, accountUrl, issuerDomains = [] }, signal) => {
      signal.throwIfAborted();
      const wish: PersistentWish = { name: identifier.value, wildcard, accountUrl, issuerDomains };
      const { record, missing } = await lookForPersistentRecord(lookup, wish, Date.now());
      if (missing === null) return;
      const line = `${record.name}. IN TXT "${record.value}"`;
      throw new ChallengeError('RECORD_MISSING', `${missing}; make this record once: ${line}`);
    },
    disarm: () => Promise.resolve(),
  };
}

/** Where the CA does not say: its host, but for the one CA whose name is known to be another. */
function issuerOf(accountUrl: string): string {
  const { hostname } = new URL(accountUrl);
  return hostname.endsWith('.letsencrypt.org') ? 'letsencrypt.org' : hostname;
}
