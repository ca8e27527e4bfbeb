/** Which site and route a request is for: made anew from the current parts whenever one of them changes. */
import type { CertificatesPart, RouteEntry, SiteEntry, SitesPart } from '../snapshot.ts';
import { routeFields } from './access_lines.ts';
import { createChain } from './policies/chain.ts';
import type { Chain } from './policies/chain.ts';
import type { RequestRow } from './request_counter.ts';

/** A route made ready for use, its policies included. */
export interface SiteRoute extends Chain {
  readonly site: SiteEntry;
  /** null: nobody serves this path here. */
  readonly service: string | null;
  /** What a JSON access line says of it. */
  readonly logFields: string;
  /** Where its requests are counted. */
  readonly counts: RequestRow;
  /** Protocols connections may change to here: names in lower case, to what is written to the worker. */
  readonly upgrades: ReadonlyMap<string, string>;
}

/** `host` in lower case without port, `path` normalised; null when no site has the host. */
export type Router = (host: string, path: string) => SiteRoute | null;

const NO_UPGRADES: ReadonlyMap<string, string> = new Map();

interface SiteRoutes {
  /** Longest prefix first, as in the part. */
  readonly routes: readonly { readonly path: string; readonly route: SiteRoute }[];
  readonly otherwise: SiteRoute;
}

export function createRouter(
  sitesPart: SitesPart,
  pending: CertificatesPart['pending'],
  countsOf: (site: string, service: string | null) => RequestRow,
): Router {
  const exact = new Map<string, SiteRoutes>();
  const wildcard = new Map<string, SiteRoutes>();
  let any: SiteRoutes | null = null;
  const reasons = new Map(Object.entries(pending));
  for (const site of sitesPart.sites) {
    const ready = (route: RouteEntry | null): SiteRoute => {
      const service = route !== null && 'service' in route ? route.service : null;
      return {
        site,
        service,
        logFields: routeFields(site.name, route?.path ?? null, service),
        counts: countsOf(site.name, service),
        upgrades: route !== null && 'service' in route ? byLowerCase(route.upgrades) : NO_UPGRADES,
        ...createChain({ site, route, pending: reasons }),
      };
    };
    const routes: SiteRoutes = {
      routes: site.routes.map((route) => ({ path: route.path, route: ready(route) })),
      otherwise: ready(null),
    };
    for (const host of site.hosts) {
      if (host === '*') any = routes;
      else if (host.startsWith('*.')) wildcard.set(host.slice(1), routes);
      else exact.set(host, routes);
    }
  }

  const siteOf = (host: string): SiteRoutes | null => {
    const site = exact.get(host);
    if (site !== undefined) return site;
    const dot = host.indexOf('.');
    return (dot > 0 ? wildcard.get(host.slice(dot)) : undefined) ?? any;
  };

  return (host, path) => {
    const site = siteOf(host);
    if (site === null) return null;
    for (const { path: prefix, route } of site.routes) if (covers(prefix, path)) return route;
    return site.otherwise;
  };
}

/** RFC 9110 section 7.8: names of protocols are compared without regard to case. */
function byLowerCase(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [name.toLowerCase(), name]));
}

/** Whether `prefix` is the whole of `path` or its leading path segments. */
function covers(prefix: string, path: string): boolean {
  if (prefix === '/' || prefix === path) return true;
  const bare = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  return path.startsWith(bare) && path.charCodeAt(bare.length) === 0x2f;
}
