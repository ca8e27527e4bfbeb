/** DNS as a CA asks it: both families and CAA, with "no such name", "the zone is broken" and "no answer" told apart. */
import { Resolver } from 'node:dns/promises';
import type { CaaRecord } from './caa.ts';

const TIMEOUT_MS = 5_000;
const FIRST_TRY_MS = 1_500;

export type Answer<T> =
  | { readonly kind: 'found'; readonly values: readonly T[] }
  /** The name is there, without records of this kind. */
  | { readonly kind: 'none' }
  | { readonly kind: 'nxdomain' }
  /** SERVFAIL, REFUSED and what no server should say: a CA treats them as a failure. */
  | { readonly kind: 'servfail'; readonly code: string }
  /** Nobody answered us: a CA asks other servers. */
  | { readonly kind: 'unanswered'; readonly code: string };

/** `abandoned` is the only rejection: of `signal`. */
export interface NameResolver {
  addresses4(name: string): Promise<Answer<string>>;
  addresses6(name: string): Promise<Answer<string>>;
  caa(name: string): Promise<Answer<CaaRecord>>;
}

/** `servers` as `address` or `address:port`; none: the system's. */
export function createNameResolver(servers: readonly string[], signal: AbortSignal): NameResolver {
  const ask = async <T>(query: (resolver: Resolver) => Promise<readonly T[]>): Promise<Answer<T>> => {
    signal.throwIfAborted();
    const resolver = new Resolver({ timeout: FIRST_TRY_MS, tries: 3 });
    if (servers.length > 0) resolver.setServers(servers);
    const cancel = (): void => resolver.cancel();
    const timer = setTimeout(cancel, TIMEOUT_MS);
    signal.addEventListener('abort', cancel, { once: true });
    try {
      const values = await query(resolver);
      return values.length > 0 ? { kind: 'found', values } : { kind: 'none' };
    } catch (error) {
      signal.throwIfAborted();
      return failedAnswer(error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
    }
  };
  return {
    addresses4: (name) => ask((resolver) => resolver.resolve4(name)),
    addresses6: (name) => ask((resolver) => resolver.resolve6(name)),
    caa: (name) => ask(async (resolver) => (await resolver.resolveCaa(name)).flatMap(caaRecords)),
  };
}

function failedAnswer(error: unknown): Exclude<Answer<never>, { kind: 'found' }> {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'EUNKNOWN';
  switch (code) {
    case 'ENODATA':
      return { kind: 'none' };
    case 'ENOTFOUND':
      return { kind: 'nxdomain' };
    case 'ETIMEOUT':
    case 'ECANCELLED':
    case 'ECONNREFUSED':
    case 'EUNKNOWN':
      return { kind: 'unanswered', code: code === 'ECANCELLED' ? 'ETIMEOUT' : code };
    default:
      return { kind: 'servfail', code };
  }
}

/** Node gives `{ critical: 0, type: 'CAA', issue: 'ca.example; accounturi=…' }`: the tag is the name of a field. */
function caaRecords(record: Readonly<Record<string, unknown>> | object): CaaRecord[] {
  const fields = Object.entries(record);
  const critical = (Number(Reflect.get(record, 'critical')) & 0x80) !== 0;
  return fields.flatMap(([tag, value]) =>
    tag === 'critical' || tag === 'type' || typeof value !== 'string'
      ? []
      : { critical, tag: tag.toLowerCase(), value },
  );
}
