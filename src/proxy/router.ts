/** What a request is for: a pure function of the current parts, the connection's kind, and the request's host and target. */
import type { CertificatesPart, ChallengesPart, RouteEntry, SiteEntry, SitesPart } from '../snapshot.ts';
import type { Failure } from './failure.ts';

export type Decision =
  | { readonly kind: 'service'; readonly site: SiteEntry; readonly service: string; readonly target: string }
  | { readonly kind: 'redirect'; readonly site: SiteEntry; readonly status: number; readonly location: string }
  | { readonly kind: 'challenge'; readonly body: string }
  | { readonly kind: 'failure'; readonly site: SiteEntry | null; readonly failure: Failure; readonly reason: string };

export interface RoutedRequest {
  readonly tls: boolean;
  /** Lower case, no port. */
  readonly host: string;
  /** Normalised origin-form. */
  readonly target: string;
  /** `target` up to the query. */
  readonly path: string;
}

export type Router = (request: RoutedRequest) => Decision;

const CHALLENGE_PREFIX = '/.well-known/acme-challenge/';
/** RFC 8555 section 8.3: base64url, and nothing else ever reaches the lookup. */
const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

export function createRouter(
  sitesPart: SitesPart,
  challenges: ChallengesPart,
  pending: CertificatesPart['pending'],
): Router {
  const exact = new Map<string, SiteEntry>();
  const wildcard = new Map<string, SiteEntry>();
  let any: SiteEntry | null = null;
  for (const site of sitesPart.sites) {
    for (const host of site.hosts) {
      if (host === '*') any = site;
      else if (host.startsWith('*.')) wildcard.set(host.slice(1), site);
      else exact.set(host, site);
    }
  }
  const tokens = new Map(Object.entries(challenges.http01));
  const reasons = new Map(Object.entries(pending));

  const siteOf = (host: string): SiteEntry | null => {
    const site = exact.get(host);
    if (site !== undefined) return site;
    const dot = host.indexOf('.');
    return (dot > 0 ? wildcard.get(host.slice(dot)) : undefined) ?? any;
  };

  return ({ tls, host, target, path }) => {
    // Before any redirect, and only in plain: RFC 8555 section 8.3 has the CA ask on port 80.
    if (!tls && path.startsWith(CHALLENGE_PREFIX)) {
      const token = path.slice(CHALLENGE_PREFIX.length);
      const body = TOKEN.test(token) ? tokens.get(token) : undefined;
      if (body !== undefined) return { kind: 'challenge', body };
    }
    const site = siteOf(host);
    if (site === null) return { kind: 'failure', site, failure: 'not_found', reason: 'no site has this host name' };
    if (!tls && site.redirectHttpsPort !== null) {
      const reason = reasons.get(host);
      if (reason !== undefined) return { kind: 'failure', site, failure: 'no_certificate', reason };
      const port = site.redirectHttpsPort === 443 ? '' : `:${site.redirectHttpsPort}`;
      const name = host.includes(':') ? `[${host}]` : host;
      return { kind: 'redirect', site, status: 308, location: `https://${name}${port}${target}` };
    }
    for (const route of site.routes) {
      if (!covers(route.path, path)) continue;
      return follow(site, route, target);
    }
    return { kind: 'failure', site, failure: 'not_found', reason: 'no route of this site has this path' };
  };
}

/** Whether `prefix` is the whole of `path` or its leading path segments. */
function covers(prefix: string, path: string): boolean {
  if (prefix === '/' || prefix === path) return true;
  const bare = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  return path.startsWith(bare) && path.charCodeAt(bare.length) === 0x2f;
}

function follow(site: SiteEntry, route: RouteEntry, target: string): Decision {
  if ('redirect' in route) {
    return { kind: 'redirect', site, status: route.redirect.status, location: route.redirect.to };
  }
  if (!route.stripPrefix) return { kind: 'service', site, service: route.service, target };
  const bare = route.path.endsWith('/') ? route.path.slice(0, -1) : route.path;
  const rest = target.slice(bare.length);
  return { kind: 'service', site, service: route.service, target: rest.startsWith('/') ? rest : `/${rest}` };
}
