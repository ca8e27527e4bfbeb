/** What DNS says now: asked of the configured resolvers, or of one name server directly. */
import { Resolver } from 'node:dns/promises';
import net from 'node:net';
import { ChallengeError } from './challenge_error.ts';

const QUERY_TIMEOUT_MS = 2_000;
const QUERY_TRIES = 2;
/** As many as Let's Encrypt follows are plenty; a loop ends here. */
const MAX_CNAMES = 8;

export interface NameServer {
  readonly name: string;
  readonly address: string;
}

/** `unreachable`: nobody answered; `failed`: the answer was none (SERVFAIL, REFUSED and the like). */
export type TxtAnswer =
  | { readonly state: 'answered'; readonly values: readonly string[] }
  | { readonly state: 'unreachable' | 'failed'; readonly code: string };

export interface DnsLookup {
  /** Where a record by this name really is, behind its CNAMEs. */
  follow(name: string): Promise<string>;
  /** The zone that holds `name`; null: nobody says so. `server`: by its own account. */
  zoneOf(name: string, server?: string): Promise<string | null>;
  /** By address, all that the zone names. */
  nameServers(zone: string): Promise<readonly NameServer[]>;
  txt(name: string, server?: NameServer): Promise<TxtAnswer>;
}

export interface DnsLookupOptions {
  /** `address` or `address:port`; none: the system's. */
  readonly resolvers: readonly string[];
  /** Of name servers; another one than 53 is for tests. */
  readonly port?: number;
}

export function createDnsLookup({ resolvers, port = 53 }: DnsLookupOptions): DnsLookup {
  const ask = (servers: readonly string[] = resolvers): Resolver => {
    const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
    if (servers.length > 0) resolver.setServers(servers);
    return resolver;
  };

  return {
    follow: async (name) => {
      let at = name;
      for (let i = 0; i <= MAX_CNAMES; i++) {
        const [next] = await orNone(ask().resolveCname(at));
        if (next === undefined) return at;
        at = next.toLowerCase().replace(/\.$/, '');
      }
      throw new ChallengeError('CNAME_LOOP', `${name} leads through more than ${MAX_CNAMES} CNAME records`);
    },
    zoneOf: async (name, server) => {
      const labels = name.split('.');
      for (let i = 0; i < labels.length; i++) {
        const zone = labels.slice(i).join('.');
        try {
          await ask(server === undefined ? resolvers : [server]).resolveSoa(zone);
          return zone;
        } catch (error) {
          // Below a zone there is no such record; a server that does not answer will not for its parent either.
          if (isUnreachable(codeOf(error))) return null;
        }
      }
      return null;
    },
    nameServers: async (zone) => {
      const names = await orNone(ask().resolveNs(zone));
      const found = names.map(async (name) => {
        const addresses = await Promise.all([orNone(ask().resolve4(name)), orNone(ask().resolve6(name))]);
        return addresses.flat().map((address) => ({ name, address }));
      });
      return (await Promise.all(found)).flat();
    },
    txt: async (name, server) => {
      const address = server === undefined ? null : withPort(server.address, port);
      try {
        const records = await ask(address === null ? resolvers : [address]).resolveTxt(name);
        return { state: 'answered', values: records.map((parts) => parts.join('')) };
      } catch (error) {
        const code = codeOf(error);
        if (code === 'ENOTFOUND' || code === 'ENODATA') return { state: 'answered', values: [] };
        return { state: isUnreachable(code) ? 'unreachable' : 'failed', code };
      }
    },
  };
}

export function withPort(address: string, port: number): string {
  return net.isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}

async function orNone<T>(query: Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await query;
  } catch {
    return [];
  }
}

function isUnreachable(code: string): boolean {
  return code === 'ETIMEOUT' || code === 'ECONNREFUSED';
}

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' ? code : String(error);
}
