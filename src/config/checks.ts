/** What keys mean to each other, and the values that come of it. */
import { statSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { isAddressRange } from '../address_set.ts';
import type { EntrypointConfig, RouteConfig, SiteConfig, SiteTls } from './config.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import { buildErrorPages } from './error_pages.ts';
import { isInternalHost, normalizeHost } from './hosts.ts';
import { nearest } from './nearest.ts';
import { buildHeaders, buildHsts, isRedirectTarget } from './policies.ts';
import type { Sections, SiteInput } from './schema.ts';
import { buildUpgrades, WEBSOCKET_ONLY } from './upgrades.ts';

const MAX_REQUEST_LINE = 8 * 1024;

export function buildEntrypoints(
  document: SourceDocument,
  entrypoints: Sections['entrypoints'],
  problems: Problem[],
): EntrypointConfig[] {
  const out: EntrypointConfig[] = [];
  for (const [name, entrypoint] of Object.entries(entrypoints)) {
    const where: Path = ['entrypoints', name, 'address'];
    const address = parseAddress(entrypoint.address);
    if (address === null) {
      problems.push(document.problem(where, 'is not an address such as ":443", "127.0.0.1:8443" or "[::1]:443"'));
      continue;
    }
    const tls = entrypoint.tls ?? name === 'https';
    const taken = out.find(({ host, port }) => host === address.host && port === address.port && port !== 0);
    if (taken !== undefined) problems.push(document.problem(where, `is the address of entrypoint ${taken.name} too`));
    const { timeouts, max_header_size: maxHeaderSize, max_request_line: maxRequestLine } = entrypoint;
    if (maxRequestLine !== undefined && maxRequestLine > maxHeaderSize) {
      const at: Path = ['entrypoints', name, 'max_request_line'];
      problems.push(document.problem(at, `must not exceed max_header_size${document.asWritten(at)}`));
    }
    out.push({
      name,
      ...address,
      tls,
      publicPort: entrypoint.public_port ?? address.port,
      proxyProtocol: entrypoint.proxy_protocol,
      maxConnections: entrypoint.max_connections,
      maxConnectionsPerClient: entrypoint.max_connections_per_client,
      maxRequests: entrypoint.max_requests,
      minRate: entrypoint.min_rate,
      maxHeaderSize,
      maxHeaders: entrypoint.max_headers,
      maxRequestLine: maxRequestLine ?? Math.min(MAX_REQUEST_LINE, maxHeaderSize),
      http2: entrypoint.http2,
      maxStreams: entrypoint.max_streams,
      timeouts: {
        headersMs: timeouts.headers,
        idleMs: timeouts.idle,
        bodyIdleMs: timeouts.body_idle,
        writeIdleMs: timeouts.write_idle,
        tunnelIdleMs: timeouts.tunnel_idle,
      },
    });
  }
  return out;
}

export function parseAddress(text: string): { host: string | null; port: number } | null {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return null;
  if (host === '') return { host: null, port };
  return net.isIP(host) === 0 ? null : { host, port };
}

export function checkTrustedProxies(
  document: SourceDocument,
  ranges: readonly string[],
  entrypoints: readonly EntrypointConfig[],
  problems: Problem[],
): void {
  ranges.forEach((range, i) => {
    if (isAddressRange(range)) return;
    problems.push(
      document.problem(['trusted_proxies', i], 'is not an address, a network such as 10.0.0.0/8, or private_ranges'),
    );
  });
  for (const { name, proxyProtocol } of entrypoints) {
    if (!proxyProtocol || ranges.length > 0) continue;
    const message = 'needs trusted_proxies: a header that anybody could send says nothing';
    problems.push(document.problem(['entrypoints', name, 'proxy_protocol'], message));
  }
}

interface SiteContext {
  readonly base: string;
  readonly services: readonly string[];
}

export function buildSite(
  document: SourceDocument,
  index: number,
  site: SiteInput,
  { base, services }: SiteContext,
  problems: Problem[],
): SiteConfig | null {
  const where: Path = ['sites', index];
  const before = problems.length;
  const tell = (at: Path, message: string, part?: 'key' | 'value'): void =>
    void problems.push(document.problem([...where, ...at], message, part));

  const hosts = site.hosts.flatMap((text, i) => {
    const host = normalizeHost(text);
    if (host === null) tell(['hosts', i], 'is not a host name');
    return host ?? [];
  });
  const routes = buildRoutes(document, where, site, services, tell);
  const tls = buildTls(site, hosts, base, tell);
  const headers = buildHeaders(site, tell);
  const errorPages = buildErrorPages(site.errors.pages, base, ['errors', 'pages'], tell);
  const [name] = hosts;
  if (problems.length > before || name === undefined) return null;
  return {
    name,
    hosts,
    tls,
    redirectHttps: site.redirect_https,
    routes,
    maxBodySize: site.max_body_size,
    errorPages,
    headers,
    hsts: buildHsts(site),
  };
}

function buildRoutes(
  document: SourceDocument,
  where: Path,
  site: SiteInput,
  services: readonly string[],
  tell: (at: Path, message: string) => void,
): readonly RouteConfig[] {
  const known = (service: string, at: Path): void => {
    if (services.includes(service)) return;
    const near = nearest(service, services);
    tell(
      at,
      `there is no such service${document.asWritten([...where, ...at])}${near === null ? '' : `; did you mean "${near}"?`}`,
    );
  };
  if (site.service !== undefined && site.routes !== undefined) {
    tell(['service'], '"service" is short for one route "/": write it or "routes", not both');
  }
  if (site.service !== undefined) {
    known(site.service, ['service']);
    return [{ path: '/', service: site.service, stripPrefix: false, upgrades: WEBSOCKET_ONLY }];
  }
  if (site.routes === undefined) {
    tell([], 'has neither "service" nor "routes"');
    return [];
  }
  const seen = new Set<string>();
  const routes = site.routes.flatMap((route, i): RouteConfig[] => {
    const at: Path = ['routes', i];
    if (!route.path.startsWith('/') || /[?#\s]/.test(route.path))
      tell([...at, 'path'], 'must be a path that begins with "/"');
    if (seen.has(route.path)) tell([...at, 'path'], 'is the path of another route too');
    seen.add(route.path);
    if (route.redirect !== undefined && route.service === undefined) {
      const { to, status } = route.redirect;
      if (!isRedirectTarget(to)) {
        tell(
          [...at, 'redirect', 'to'],
          'must be an http:// or https:// address; after the host it may have {uri} or {rest}',
        );
      }
      return [{ path: route.path, redirect: { to, status } }];
    }
    if (route.service !== undefined && route.redirect === undefined) {
      known(route.service, [...at, 'service']);
      const upgrades = buildUpgrades(route.upgrade, [...at, 'upgrade'], tell);
      return [{ path: route.path, service: route.service, stripPrefix: route.strip_prefix, upgrades }];
    }
    tell(at, 'needs exactly one of "service" and "redirect"');
    return [];
  });
  return routes.toSorted((a, b) => b.path.length - a.path.length);
}

function buildTls(
  site: SiteInput,
  hosts: readonly string[],
  base: string,
  tell: (at: Path, message: string) => void,
): SiteTls {
  if (typeof site.tls === 'object') {
    const files = { certificate: path.resolve(base, site.tls.certificate), key: path.resolve(base, site.tls.key) };
    for (const key of ['certificate', 'key'] as const) {
      if (!statSync(files[key], { throwIfNoEntry: false })?.isFile())
        tell(['tls', key], `there is no file ${files[key]}`);
    }
    return { mode: 'files', ...files };
  }
  const mode = site.tls ?? (hosts.every(isInternalHost) ? 'internal' : 'acme');
  if (mode === 'acme') {
    hosts.forEach((host, i) => {
      if (site.tls === undefined && isInternalHost(host)) {
        tell(['hosts', i], 'no public CA issues for this name: give it a site of its own, or say tls: internal here');
      }
    });
  }
  if (mode === 'internal' && hosts.includes('*')) {
    tell(['hosts', hosts.indexOf('*')], '"*" has no certificate: use tls: off, or name the hosts');
  }
  return { mode };
}

/** Names no two sites may share, and the entrypoints they need. `sitesByIndex`: by their place in the file. */
export function checkSites(
  document: SourceDocument,
  sitesByIndex: ReadonlyMap<number, SiteConfig>,
  entrypoints: readonly EntrypointConfig[],
  problems: Problem[],
): void {
  const sites = [...sitesByIndex.values()];
  const taken = new Map<string, Path>();
  for (const [index, { hosts }] of sitesByIndex) {
    hosts.forEach((host, i) => {
      const at: Path = ['sites', index, 'hosts', i];
      const first = taken.get(host);
      if (first === undefined) {
        taken.set(host, at);
        return;
      }
      const { file, line, column } = document.problem(first, '');
      problems.push(document.problem(at, `is named in ${file}:${line}:${column} too${document.asWritten(at)}`));
    });
  }
  if (entrypoints.length === 0) return;
  if (sites.some(({ tls }) => tls.mode !== 'off') && !entrypoints.some(({ tls }) => tls)) {
    problems.push(document.problem(['entrypoints'], 'no entrypoint has tls: true, and a site needs one'));
  }
  if (sites.some(({ tls }) => tls.mode === 'off') && entrypoints.every(({ tls }) => tls)) {
    problems.push(document.problem(['entrypoints'], 'every entrypoint has tls: true, and a site has tls: off'));
  }
}
