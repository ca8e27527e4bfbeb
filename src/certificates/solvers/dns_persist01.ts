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

export interface DnsPersist01Options {
  readonly lookup: DnsLookup;
}

export function createDnsPersist01({ lookup }: DnsPersist01Options): Solver {
  return {
    type: 'dns-persist-01',
    solves: ({ type }) => type === 'dns',
    arm: async ({ identifier, wildcard, accountUrl, issuerDomains }, signal) => {
      signal.throwIfAborted();
      // The CA says under which names it may be meant; any of them will do.
      const domains =
        issuerDomains === undefined || issuerDomains.length === 0 ? [issuerOf(accountUrl)] : issuerDomains;
      const grants = domains.map((issuerDomain): PersistentGrant => ({
        name: identifier.value,
        issuerDomain,
        accountUrl,
        wildcard,
        until: null,
      }));
      const [first] = grants;
      if (first === undefined) return;
      const wanted = persistentRecord(first);
      const answer = await lookup.txt(wanted.name);
      const missing =
        answer.state === 'answered'
          ? grants.map((grant) => missingFromRecords(answer.values, grant, Date.now()))
          : [`DNS does not answer (${answer.code})`];
      if (missing.includes(null)) return;
      throw new ChallengeError(
        'RECORD_MISSING',
        `${missing[0]}; make this record once: ${wanted.name}. IN TXT "${wanted.value}"`,
      );
    },
    disarm: () => Promise.resolve(),
  };
}

/** Where the CA does not say: its host, but for the one CA whose name is known to be another. */
function issuerOf(accountUrl: string): string {
  const { hostname } = new URL(accountUrl);
  return hostname.endsWith('.letsencrypt.org') ? 'letsencrypt.org' : hostname;
}
