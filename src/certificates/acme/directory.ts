/** What a CA says it can do, kept for a day against captive portals and half-written pages. */
import { AcmeProblem, AcmeTransportError } from './errors.ts';
import { assertSuccess, fieldsOf } from './transport.ts';
import type { Transport } from './transport.ts';

const KEPT_MS = 86_400_000;

/** RFC 8555 section 7.1.1. */
export interface Directory {
  readonly newNonce: string;
  readonly newAccount: string;
  readonly newOrder: string;
  readonly revokeCert: string | null;
  readonly keyChange: string | null;
  /** RFC 9773; null: this CA does not say when to renew. */
  readonly renewalInfo: string | null;
  readonly termsOfService: string | null;
  readonly externalAccountRequired: boolean;
  /** What CAA records call it. */
  readonly caaIdentities: readonly string[];
  /** By name, with where they are described; null: the CA has no profiles. */
  readonly profiles: Readonly<Record<string, string>> | null;
}

export interface Directories {
  /** Asks the CA; a good copy of the last day serves where what answers is no directory. */
  fresh(transport: Transport, url: string, signal: AbortSignal): Promise<Directory>;
  /** The good copy of the last day, else asks. */
  kept(transport: Transport, url: string, signal: AbortSignal): Promise<Directory>;
  /** How far the CA's clock is ahead of ours, in milliseconds, as of its last directory; null: not known. */
  skewMs(url: string): number | null;
}

export function createDirectories(now: () => number = Date.now): Directories {
  const copies = new Map<string, { readonly directory: Directory; readonly at: number }>();
  const skews = new Map<string, number>();

  const copyOf = (url: string): Directory | null => {
    const copy = copies.get(url);
    return copy !== undefined && now() - copy.at < KEPT_MS ? copy.directory : null;
  };
  const fresh: Directories['fresh'] = async (transport, url, signal) => {
    const answer = await transport.ask(url, 'GET', null, signal);
    try {
      const directory = parseDirectory(url, assertSuccess(answer).data);
      copies.set(url, { directory, at: now() });
      if (answer.skewMs !== null) skews.set(url, answer.skewMs);
      return directory;
    } catch (error) {
      // An outage is told as one: its Retry-After counts.
      if (error instanceof AcmeProblem && (error.status >= 500 || error.status === 429)) throw error;
      const copy = copyOf(url);
      if (copy !== null) return copy;
      if (error instanceof AcmeTransportError) throw error;
      throw new AcmeTransportError('NOT_A_DIRECTORY', `${url} answers ${answer.status}`, error);
    }
  };
  return {
    fresh,
    kept: async (transport, url, signal) => copyOf(url) ?? (await fresh(transport, url, signal)),
    skewMs: (url) => skews.get(url) ?? null,
  };
}

/** Unknown fields are no concern of ours. */
export function parseDirectory(url: string, data: unknown): Directory {
  const fields = fieldsOf(data);
  const required = (name: string): string => {
    const value = fields[name];
    if (typeof value === 'string') return value;
    throw new AcmeTransportError('NOT_A_DIRECTORY', `what answers at ${url} is no ACME directory: it has no ${name}`);
  };
  const optional = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const meta = fieldsOf(fields['meta']);
  const { profiles, caaIdentities: identities } = meta;
  return {
    newNonce: required('newNonce'),
    newAccount: required('newAccount'),
    newOrder: required('newOrder'),
    revokeCert: optional(fields['revokeCert']),
    keyChange: optional(fields['keyChange']),
    renewalInfo: optional(fields['renewalInfo']),
    termsOfService: optional(meta['termsOfService']),
    externalAccountRequired: meta['externalAccountRequired'] === true,
    caaIdentities: Array.isArray(identities) ? identities.filter((it) => typeof it === 'string') : [],
    profiles:
      typeof profiles === 'object' && profiles !== null
        ? Object.fromEntries(Object.entries(profiles).map(([name, text]) => [name, String(text)]))
        : null,
  };
}
