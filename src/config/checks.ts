/** What keys mean to each other, and the values that come of it. */
import { readFileSync, statSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { isAddressRange } from '../address_set.ts';
import { buildBalancing } from './balancing.ts';
import type { EntrypointConfig, RouteConfig, ServiceConfig, SiteConfig, SiteTls } from './config.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import { isInternalHost, normalizeHost } from './hosts.ts';
import { nearest } from './nearest.ts';
import { buildHeaders, buildHsts, isRedirectTarget } from './policies.ts';
import type { Sections, ServiceInput, SiteInput } from './schema.ts';
import { buildUpgrades, WEBSOCKET_ONLY } from './upgrades.ts';
import { buildUpstreams, readRoots } from './upstreams.ts';

/** sockaddr_un's path, without its NUL. */
const MAX_SOCKET_PATH = 107;
/** `<slot>.<generation>.sock`. */
const SOCKET_NAME_LENGTH = 20;
const MAX_REQUEST_LINE = 8 * 1024;
const PLACEHOLDERS = ['port', 'socket', 'slot'];

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

function parseAddress(text: string): { host: string | null; port: number } | null {
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
  const tell = (at: Path, message: string): void => void problems.push(document.problem([...where, ...at], message));

  const hosts = site.hosts.flatMap((text, i) => {
    const host = normalizeHost(text);
    if (host === null) tell(['hosts', i], 'is not a host name');
    return host ?? [];
  });
  const routes = buildRoutes(document, where, site, services, tell);
  const tls = buildTls(site, hosts, base, tell);
  const headers = buildHeaders(site, tell);
  const [name] = hosts;
  if (problems.length > before || name === undefined) return null;
  return {
    name,
    hosts,
    tls,
    redirectHttps: site.redirect_https,
    routes,
    maxBodySize: site.max_body_size,
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

interface ServiceContext {
  readonly base: string;
  readonly runtimeDirectory: string;
  readonly cpus: number;
}

export function buildService(
  document: SourceDocument,
  name: string,
  service: ServiceInput,
  { base, runtimeDirectory, cpus }: ServiceContext,
  problems: Problem[],
): ServiceConfig | null {
  const where: Path = ['services', name];
  const before = problems.length;
  const tell = (at: Path, message: string, part: 'key' | 'value' = 'value'): void =>
    void problems.push(document.problem([...where, ...at], message, part));

  if (service.command === undefined && service.upstreams.length === 0) {
    tell([], 'has neither "command" nor "upstreams"', 'key');
  }
  const upstreams = buildUpstreams(service, tell);
  const trustedRoots = readRoots(service, base, tell);
  const loadBalancing = buildBalancing(service, tell);
  for (const [, word = ''] of (service.command ?? []).join(' ').matchAll(/\{([a-z_]+)\}/g)) {
    if (PLACEHOLDERS.includes(word)) continue;
    tell(['command'], `has the unknown placeholder {${word}}; known are {port}, {socket} and {slot}`);
  }
  const folder = path.join(runtimeDirectory, 'services', name);
  const room = MAX_SOCKET_PATH - SOCKET_NAME_LENGTH;
  if (service.command !== undefined && Buffer.byteLength(folder) > room) {
    tell([], `its sockets' folder is too long for a socket's path (${room} bytes): ${folder}`, 'key');
  }
  const directory = path.resolve(base, service.directory);
  if (service.command !== undefined && !statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    tell(['directory'], `there is no directory ${directory}`);
  }
  const env: Record<string, string> = {};
  for (const [key, value] of Object.entries(service.env)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) tell(['env', key], 'is not a name of a variable', 'key');
    env[key] = readSecret(value, base, () => tell(['env', key], 'the file it names cannot be read'));
  }
  if (problems.length > before) return null;
  const { health_check: health, timeouts } = service;
  return {
    name,
    command: service.command ?? null,
    upstreams,
    trustedRoots,
    serverName: service.tls.server_name ?? null,
    directory,
    env,
    user: service.user ?? null,
    workers: service.workers === 'auto' ? cpus : service.workers,
    healthCheck: {
      path: health.path ?? null,
      intervalMs: health.interval,
      timeoutMs: health.timeout,
      rise: health.rise,
      fall: health.fall,
    },
    loadBalancing,
    queue: { max: service.queue.max, timeoutMs: service.queue.timeout },
    timeouts: {
      startMs: timeouts.start,
      drainMs: timeouts.drain,
      stopMs: timeouts.stop,
      connectMs: timeouts.connect,
      responseMs: timeouts.response,
      responseIdleMs: timeouts.response_idle,
      eventIdleMs: timeouts.event_idle,
      idleMs: timeouts.idle,
    },
  };
}

/** `file:PATH` stands for the file's content, without a last line end. */
function readSecret(value: string, base: string, unreadable: () => void): string {
  if (!value.startsWith('file:')) return value;
  try {
    return readFileSync(path.resolve(base, value.slice('file:'.length)), 'utf8').replace(/\r?\n$/, '');
  } catch {
    unreadable();
    return '';
  }
}
