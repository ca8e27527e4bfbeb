/** Pure translations of what is configured and known into the parts proxies work with. */
import { connectionsWithin } from './open_files.ts';
import type { Config, ServiceConfig } from '../config/config.ts';
import type { LimitsPart, SitesPart, TargetEntry, UpstreamsPart } from '../snapshot.ts';

export function sitesPart({ sites, entrypoints }: Config): SitesPart {
  const httpsPort = entrypoints.find(({ tls }) => tls)?.publicPort ?? null;
  return {
    sites: sites.map((site) => {
      const tls = site.tls.mode !== 'off';
      return {
        name: site.name,
        hosts: site.hosts,
        tls,
        redirectHttpsPort: tls && site.redirectHttps ? httpsPort : null,
        routes: site.routes,
        maxBodySize: site.maxBodySize,
        errorPages: site.errorPages,
        headers: site.headers,
        hsts: site.hsts,
      };
    }),
  };
}

/** `openFiles`: how many a proxy may have. */
export function limitsPart({ entrypoints, proxyProcesses, logging, ...config }: Config, openFiles: number): LimitsPart {
  const most = connectionsWithin(openFiles, entrypoints.length);
  return {
    accessLog: accessLog(logging),
    trustedProxies: config.trustedProxies,
    forwardedHeader: config.forwardedHeader,
    requestIdHeader: config.requestIdHeader,
    errorPages: config.errorPages,
    entrypoints: entrypoints.map(({ host: _host, port: _port, publicPort: _publicPort, timeouts, ...limits }) => ({
      ...limits,
      ...timeouts,
      maxConnections: Math.min(most, share(limits.maxConnections, proxyProcesses)),
      maxConnectionsPerClient:
        limits.maxConnectionsPerClient === 0 ? 0 : share(limits.maxConnectionsPerClient, proxyProcesses),
    })),
  };
}

function accessLog({ access, format }: Config['logging']): LimitsPart['accessLog'] {
  // No terminal reads a file: there, lines are for programs.
  if (access === null || access.file === null || access.format !== 'auto') return access;
  return { ...access, format: format === 'text' ? 'text' : 'json' };
}

/** A limit in total is divided among the proxies; each gets at least one. */
function share(total: number, proxyProcesses: number): number {
  return Math.max(1, Math.ceil(total / proxyProcesses));
}

export interface ServiceTargets {
  readonly targets: readonly TargetEntry[];
  /** `paused`: requests wait, whatever there is; `stopped`: they are sent away at once. */
  readonly admission: 'open' | 'paused' | 'stopped';
  readonly unavailable: string | null;
}

export function upstreamsPart(
  services: readonly ServiceConfig[],
  proxyProcesses: number,
  targetsOf: (service: string) => ServiceTargets,
): UpstreamsPart {
  return {
    services: services.map(({ name, loadBalancing, queue, timeouts, trustedRoots, concurrency }) => {
      const { targets, admission, unavailable } = targetsOf(name);
      return {
        name,
        ...loadBalancing,
        queueMax: queue.max === 0 || admission === 'stopped' ? 0 : share(queue.max, proxyProcesses),
        queueTimeoutMs: queue.timeoutMs,
        concurrency: concurrency === 0 ? 0 : share(concurrency, proxyProcesses),
        streamsMs: timeouts.streamsMs,
        connectTimeoutMs: timeouts.connectMs,
        responseTimeoutMs: timeouts.responseMs,
        livenessMs: timeouts.livenessMs,
        bodyIdleMs: timeouts.responseIdleMs,
        eventIdleMs: timeouts.eventIdleMs,
        idleTimeoutMs: timeouts.idleMs,
        trustedRoots,
        targets,
        paused: admission === 'paused',
        unavailable,
      };
    }),
  };
}
