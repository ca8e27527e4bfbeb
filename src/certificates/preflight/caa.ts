/** Whether a name's owner lets this CA, this account and these ways issue for it (RFC 8659, RFC 8657): pure. */
import type { ChallengeType } from '../solvers/solver.ts';

export interface CaaRecord {
  readonly critical: boolean;
  /** Lower case. */
  readonly tag: string;
  readonly value: string;
}

export interface CaaInput {
  /** The nearest records up the tree. */
  readonly records: readonly CaaRecord[];
  readonly wildcard: boolean;
  /** What the CA calls itself in such records. */
  readonly identities: readonly string[];
  /** null: there is no account yet. */
  readonly accountUrl: string | null;
  /** How control over the name may be shown here. */
  readonly methods: readonly ChallengeType[];
}

export type CaaVerdict =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly code:
        | 'caa_issue_forbids'
        | 'caa_issuewild_forbids'
        | 'caa_accounturi'
        | 'caa_validationmethods'
        | 'caa_unknown_critical';
      /** The record that says so, as it would stand in a zone. */
      readonly records: readonly string[];
      /** What it would have to allow. */
      readonly wanted: string;
    };

/** Those a CA must understand, and those that say nothing about issuing for web servers. */
const KNOWN_TAGS = new Set(['issue', 'issuewild', 'iodef', 'issuemail', 'issuevmc', 'contactemail', 'contactphone']);

export function judgeCaa({ records, wildcard, identities, accountUrl, methods }: CaaInput): CaaVerdict {
  const unknown = records.filter(({ critical, tag }) => critical && !KNOWN_TAGS.has(tag));
  if (unknown.length > 0) {
    return { ok: false, code: 'caa_unknown_critical', records: unknown.map(show), wanted: 'no such record' };
  }
  // RFC 8659 section 4.3: issuewild, where there is any, is all that counts for wildcards, and for nothing else.
  const wild = wildcard ? records.filter(({ tag }) => tag === 'issuewild') : [];
  const relevant = wild.length > 0 ? wild : records.filter(({ tag }) => tag === 'issue');
  if (relevant.length === 0) return { ok: true };
  const forbids = wild.length > 0 ? 'caa_issuewild_forbids' : 'caa_issue_forbids';
  const ours = relevant.flatMap((record) => {
    const parsed = parseIssueValue(record.value);
    return parsed !== null && identities.some((identity) => identity.toLowerCase() === parsed.issuer)
      ? { record, parameters: parsed.parameters }
      : [];
  });
  if (ours.length === 0)
    return { ok: false, code: forbids, records: relevant.map(show), wanted: identities.join(', ') };

  // RFC 8657 sections 3 and 4: each record is judged alone, and one that allows is enough.
  const accounts = ours.filter(({ parameters }) => {
    const uri = parameters.get('accounturi');
    return uri === undefined || uri === accountUrl;
  });
  if (accounts.length === 0) {
    const wanted = accountUrl ?? 'the account, which is not there before the first order';
    return { ok: false, code: 'caa_accounturi', records: ours.map(({ record }) => show(record)), wanted };
  }
  const allowed = accounts.some(({ parameters }) => {
    const list = parameters.get('validationmethods')?.split(',');
    return list === undefined || methods.some((method) => list.includes(method));
  });
  if (allowed) return { ok: true };
  const refusing = accounts.map(({ record }) => show(record));
  return { ok: false, code: 'caa_validationmethods', records: refusing, wanted: methods.join(' or ') };
}

/** The names whose records may count, nearest first: a CA climbs to the top-level domain. */
export function caaNames(host: string): string[] {
  const labels = host.replace(/^\*\./, '').split('.');
  return labels.map((_, i) => labels.slice(i).join('.'));
}

/** RFC 8659 section 4.2: `issuer; tag=value; …`. null when it is malformed: it then allows nobody. */
export function parseIssueValue(
  value: string,
): { readonly issuer: string; readonly parameters: ReadonlyMap<string, string> } | null {
  const [issuer = '', ...rest] = value.split(';').map((part) => part.trim());
  if (!/^[a-z0-9.-]*$/i.test(issuer)) return null;
  const parameters = new Map<string, string>();
  for (const part of rest) {
    if (part === '') continue;
    const match = /^([a-z0-9]+)\s*=\s*([\x21-\x3a\x3c-\x7e]*)$/i.exec(part);
    if (match === null) return null;
    const name = (match[1] ?? '').toLowerCase();
    // Said twice it means nothing that could be relied on.
    if (parameters.has(name)) return null;
    parameters.set(name, match[2] ?? '');
  }
  return { issuer: issuer.toLowerCase(), parameters };
}

function show({ critical, tag, value }: CaaRecord): string {
  return `CAA ${critical ? 128 : 0} ${tag} "${value}"`;
}
