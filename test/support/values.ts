/** Complete values of large types, for tests that care about a few of their fields. */
import type { ServiceConfig } from '../../src/config/config.ts';
import type { ServiceEntry, SiteEntry, TargetEntry } from '../../src/snapshot.ts';

const BALANCING: ServiceConfig['loadBalancing'] = {
  policy: 'least_conn',
  hash: null,
  stickyCookie: null,
  retries: 2,
  slowStartMs: 0,
  ejectAfter: 3,
  ejectMs: 10_000,
};

export function serviceConfig(changes: Partial<ServiceConfig> = {}): ServiceConfig {
  return {
    name: 'web',
    command: null,
    shownCommand: [],
    upstreams: [],
    directory: '/',
    env: {},
    identity: {
      user: null,
      group: null,
      groups: null,
      umask: null,
      nice: null,
      cpuAffinity: null,
      rlimits: {},
    },
    release: null,
    prestart: [],
    workers: 1,
    sizing: { type: 'fixed' },
    concurrency: 0,
    memory: { soft: 0, hard: 0 },
    maxRequests: 0,
    maxAgeMs: 0,
    healthCheck: { type: 'http', path: null, intervalMs: 1, timeoutMs: 1, rise: 1, fall: 1 },
    loadBalancing: BALANCING,
    queue: { max: 0, timeoutMs: 1 },
    trustedRoots: null,
    serverName: null,
    timeouts: {
      startMs: 1,
      livenessMs: 30_000,
      drainMs: 1,
      streamsMs: 1,
      stopMs: 1,
      connectMs: 1,
      responseMs: 1,
      responseIdleMs: 1,
      eventIdleMs: 1,
      idleMs: 1,
    },
    ...changes,
  };
}

export function serviceEntry(changes: Partial<ServiceEntry> = {}): ServiceEntry {
  return {
    name: 'web',
    ...BALANCING,
    queueMax: 0,
    queueTimeoutMs: 1,
    concurrency: 0,
    streamsMs: 1,
    connectTimeoutMs: 1,
    responseTimeoutMs: 1,
    livenessMs: 30_000,
    bodyIdleMs: 1,
    eventIdleMs: 1,
    idleTimeoutMs: 1,
    trustedRoots: null,
    targets: [],
    paused: false,
    unavailable: null,
    ...changes,
  };
}

export function targetEntry(id: string, changes: Partial<TargetEntry> = {}): TargetEntry {
  const address = { host: '127.0.0.1', port: 1 };
  return { id, place: id, protocol: 'http', address, serverName: '', weight: 1, healthy: true, ...changes };
}

export function siteEntry(changes: Partial<SiteEntry> = {}): SiteEntry {
  return {
    name: 'app',
    hosts: ['app.example'],
    tls: true,
    redirectHttpsPort: 443,
    routes: [],
    maxBodySize: 0,
    errorPages: {},
    headers: { request: { set: {}, remove: [] }, response: { set: {}, remove: [] } },
    hsts: { maxAgeSeconds: null, includeSubdomains: false, preload: false },
    ...changes,
  };
}
