/** What the operator wrote, complete with defaults, as one frozen value. Units come last: `…Ms` are milliseconds. */
import type { LogLevel } from '../log.ts';

export interface Config {
  /** Absolute path of the file. */
  readonly file: string;
  /** Absolute paths of all files read: it, and those it includes. */
  readonly files: readonly string[];
  /** Identity of the proxies after binding; null: `nobody` when started as root, else our own. */
  readonly user: string | null;
  readonly group: string | null;
  readonly runtimeDirectory: string;
  readonly stateDirectory: string;
  readonly entrypoints: readonly EntrypointConfig[];
  readonly proxyProcesses: number;
  /** null: nobody may ask a CA for anything. */
  readonly acme: AcmeConfig | null;
  readonly sites: readonly SiteConfig[];
  readonly services: readonly ServiceConfig[];
  readonly shutdown: { readonly gracePeriodMs: number };
  readonly admin: { readonly socket: string };
  readonly logging: {
    readonly level: LogLevel;
    readonly format: 'auto' | 'text' | 'json';
    readonly access: boolean;
  };
}

export interface EntrypointConfig {
  readonly name: string;
  /** null: all addresses, IPv6 and IPv4. */
  readonly host: string | null;
  readonly port: number;
  readonly tls: boolean;
  /** The port clients use to get here (behind a port mapping it differs from `port`). */
  readonly publicPort: number;
  readonly maxConnections: number;
  readonly maxHeaderSize: number;
  readonly timeouts: {
    readonly headersMs: number;
    readonly idleMs: number;
    readonly bodyIdleMs: number;
    readonly writeIdleMs: number;
  };
}

export interface AcmeConfig {
  readonly email: string | null;
  readonly agreeTos: boolean;
  /** At least one; the first is used. */
  readonly issuers: readonly IssuerConfig[];
}

export interface IssuerConfig {
  /** Directory URL. */
  readonly ca: string;
  /** Directory URL a dry run uses. */
  readonly testCa: string;
  /** Absolute paths of PEM files trusted beside the system's roots when talking to the CA. */
  readonly trustedRoots: readonly string[];
}

export type SiteTls =
  | { readonly mode: 'acme' }
  | { readonly mode: 'internal' }
  | { readonly mode: 'off' }
  | { readonly mode: 'files'; readonly certificate: string; readonly key: string };

export interface SiteConfig {
  /** Stable name for logs and metrics: the first host. */
  readonly name: string;
  /** Lower case, IDNA-encoded; IP addresses without brackets; `*` means any name. */
  readonly hosts: readonly string[];
  readonly tls: SiteTls;
  readonly redirectHttps: boolean;
  /** Longest prefix first. */
  readonly routes: readonly RouteConfig[];
  /** Bytes; 0: no limit. */
  readonly maxBodySize: number;
}

export type RouteConfig =
  | { readonly path: string; readonly service: string; readonly stripPrefix: boolean }
  | { readonly path: string; readonly redirect: { readonly to: string; readonly status: 301 | 302 | 307 | 308 } };

export interface ServiceConfig {
  readonly name: string;
  /** argv; null when the service has only `upstreams`. */
  readonly command: readonly string[] | null;
  /** `http://host:port`, no path. */
  readonly upstreams: readonly string[];
  readonly directory: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string | null;
  readonly workers: number;
  readonly healthCheck: {
    /** null: any complete HTTP answer to `GET /` counts. */
    readonly path: string | null;
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly rise: number;
    readonly fall: number;
  };
  readonly loadBalancing: { readonly policy: BalancingPolicy; readonly retries: number };
  readonly timeouts: {
    readonly startMs: number;
    readonly drainMs: number;
    readonly stopMs: number;
    readonly connectMs: number;
    readonly responseMs: number;
    readonly idleMs: number;
  };
}

export type BalancingPolicy = 'least_conn' | 'round_robin';
