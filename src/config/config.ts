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
  /** Whether a CA may be asked although the state folder ends with its container. */
  readonly allowEphemeral: boolean;
  readonly entrypoints: readonly EntrypointConfig[];
  /** Addresses, networks and `private_ranges`. */
  readonly trustedProxies: readonly string[];
  /** Whether workers get `Forwarded` (RFC 7239) beside `X-Forwarded-*`. */
  readonly forwardedHeader: boolean;
  /** Whether clients are told a request's id. */
  readonly requestIdHeader: boolean;
  /** For whom no site has one. */
  readonly errorPages: ErrorPages;
  readonly proxyProcesses: number;
  /** null: nobody may ask a CA for anything. */
  readonly acme: AcmeConfig | null;
  readonly sites: readonly SiteConfig[];
  readonly services: readonly ServiceConfig[];
  readonly shutdown: {
    /** How long new connections are still taken, while readiness already says no. */
    readonly delayMs: number;
    readonly gracePeriodMs: number;
  };
  readonly admin: { readonly socket: string };
  /** null: off. */
  readonly metrics: MetricsConfig | null;
  /** null: no spans are sent. */
  readonly tracing: {
    /** URL of a collector's OTLP over HTTP. */
    readonly endpoint: string;
    /** The share of traces that begin here and are recorded. */
    readonly sample: number;
    readonly serviceName: string;
  } | null;
  readonly logging: {
    readonly level: LogLevel;
    readonly format: 'auto' | 'text' | 'json';
    /** null: there is none. */
    readonly access: {
      /** Absolute; null: stdout. */
      readonly file: string | null;
      readonly format: 'auto' | 'json' | 'combined';
      /** The share of requests that get a line; errors always do. */
      readonly sample: number;
    } | null;
  };
}

export interface MetricsConfig {
  /** null: all addresses, IPv6 and IPv4. */
  readonly host: string | null;
  readonly port: number;
  /** What whoever asks must prove to know; null: nothing, as only this machine can ask. */
  readonly token: string | null;
}

export interface EntrypointConfig {
  readonly name: string;
  /** null: all addresses, IPv6 and IPv4. */
  readonly host: string | null;
  readonly port: number;
  readonly tls: boolean;
  /** The port clients use to get here (behind a port mapping it differs from `port`). */
  readonly publicPort: number;
  /** Every connection begins with a PROXY header, from a trusted proxy. */
  readonly proxyProtocol: boolean;
  readonly maxConnections: number;
  /** Per address, per /64 of IPv6; 0: no limit, as in the next two. */
  readonly maxConnectionsPerClient: number;
  /** Per connection. */
  readonly maxRequests: number;
  /** Bytes a second. */
  readonly minRate: number;
  readonly maxHeaderSize: number;
  readonly maxHeaders: number;
  /** At most `maxHeaderSize`. */
  readonly maxRequestLine: number;
  readonly http2: boolean;
  /** Requests at once on one connection of HTTP/2. */
  readonly maxStreams: number;
  readonly timeouts: {
    readonly headersMs: number;
    readonly idleMs: number;
    readonly bodyIdleMs: number;
    readonly writeIdleMs: number;
    readonly tunnelIdleMs: number;
  };
}

export interface AcmeConfig {
  readonly email: string | null;
  readonly agreeTos: boolean;
  /** At least one; the others are asked when the first fails for long. */
  readonly issuers: readonly IssuerConfig[];
  /** In order of preference. */
  readonly challenges: readonly ChallengeType[];
  /** How records are made; null: nobody may make any. */
  readonly dns: DnsConfig | null;
  /** Name servers asked before an order, `address` or `address:port`; none: the system's. */
  readonly resolvers: readonly string[];
  /** Where the world finds this machine; none: not known. */
  readonly publicAddresses: readonly string[];
  readonly keyType: KeyType;
  /** Whether a renewal keeps the key. */
  readonly reuseKey: boolean;
  /** Run on events of certificates; null: nothing is. */
  readonly hook: readonly string[] | null;
}

export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01' | 'dns-persist-01';
export type KeyType = 'p256' | 'p384' | 'rsa2048' | 'rsa4096';

export interface DnsConfig {
  readonly method:
    | { readonly type: 'exec'; readonly command: readonly string[]; readonly timeoutMs: number }
    | {
        readonly type: 'rfc2136';
        readonly host: string;
        readonly port: number;
        /** null: found by asking for the SOA record. */
        readonly zone: string | null;
        /** TSIG (RFC 8945); null: updates are not signed. */
        readonly key: { readonly name: string; readonly algorithm: TsigAlgorithm; readonly secret: string } | null;
        readonly ttlSeconds: number;
      };
  /** How long a record may take until every name server of its zone shows it. */
  readonly propagationTimeoutMs: number;
}

export type TsigAlgorithm = 'hmac-sha256' | 'hmac-sha384' | 'hmac-sha512';

export interface IssuerConfig {
  /** Directory URL. */
  readonly ca: string;
  /** Directory URL a dry run uses. */
  readonly testCa: string;
  /** Absolute paths of PEM files trusted beside the system's roots when talking to the CA. */
  readonly trustedRoots: readonly string[];
  /** null: the CA's default. */
  readonly profile: string | null;
  /** External account binding (RFC 8555 section 7.3.4); the key in base64url. */
  readonly eab: { readonly kid: string; readonly hmacKey: string } | null;
  /** Common name of the root the chain should end in; null: the CA's default. */
  readonly preferredChain: string | null;
}

/** By status, as in `503` and `5xx`: what is said where no worker answers. */
export type ErrorPages = Readonly<Record<string, { readonly type: string; readonly body: string }>>;

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
  readonly errorPages: ErrorPages;
  readonly headers: { readonly request: HeaderEditsConfig; readonly response: HeaderEditsConfig };
  readonly hsts: {
    /** null: nothing is said. */
    readonly maxAgeSeconds: number | null;
    readonly includeSubdomains: boolean;
    readonly preload: boolean;
  };
}

/** Names and values are valid for a head; what is set replaces what was there. */
export interface HeaderEditsConfig {
  readonly set: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
}

export type RouteConfig =
  | {
      readonly path: string;
      readonly service: string;
      readonly stripPrefix: boolean;
      readonly upgrades: readonly string[];
    }
  | { readonly path: string; readonly redirect: { readonly to: string; readonly status: 301 | 302 | 307 | 308 } };

export interface ServiceConfig {
  readonly name: string;
  /** argv; null when the service has only `upstreams`. */
  readonly command: readonly string[] | null;
  /** The same word by word as it may be shown: secrets are `***`. */
  readonly shownCommand: readonly string[];
  readonly upstreams: readonly UpstreamConfig[];
  /** PEM the certificates of upstreams may go back to; null: the system's roots. */
  readonly trustedRoots: string | null;
  /** The name upstreams prove; null: the one in their URL. */
  readonly serverName: string | null;
  readonly directory: string;
  /** Of files and of `env`, which goes before. */
  readonly env: Readonly<Record<string, string>>;
  readonly identity: WorkerIdentityConfig;
  /** Another one is another release, as another command is; null: what else is defined says it all. */
  readonly release: string | null;
  /** Before the first worker of each release, in this order. */
  readonly prestart: readonly PrestartConfig[];
  /** At first. */
  readonly workers: number;
  readonly sizing: Sizing;
  /** Requests in flight for each worker; 0: no limit. */
  readonly concurrency: number;
  /** Bytes of a worker's process group; 0: no limit. Above `soft` it is replaced, above `hard` killed. */
  readonly memory: { readonly soft: number; readonly hard: number };
  /** After so many it is replaced; 0: never, as in the next. */
  readonly maxRequests: number;
  readonly maxAgeMs: number;
  readonly healthCheck: {
    /** `process`: alive is enough, and it serves nothing. */
    readonly type: 'http' | 'process';
    /** null: any complete HTTP answer to `GET /` counts. */
    readonly path: string | null;
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly rise: number;
    readonly fall: number;
  };
  readonly loadBalancing: {
    readonly policy: BalancingPolicy;
    /** What policy `hash` goes by; a header's name is in lower case. */
    readonly hash: { readonly by: 'client' } | { readonly by: 'header' | 'cookie'; readonly name: string } | null;
    readonly stickyCookie: string | null;
    readonly retries: number;
    readonly slowStartMs: number;
    /** So many failures in a row put a worker out; 0: never. */
    readonly ejectAfter: number;
    readonly ejectMs: number;
  };
  /** Requests that wait while no worker is ready. */
  readonly queue: { readonly max: number; readonly timeoutMs: number };
  readonly timeouts: {
    readonly startMs: number;
    /** A worker that took a request so long ago and has not said a byte since is replaced, while others answer. */
    readonly livenessMs: number;
    readonly drainMs: number;
    /** What WebSockets and streams of events get of it. */
    readonly streamsMs: number;
    readonly stopMs: number;
    readonly connectMs: number;
    readonly responseMs: number;
    /** Between pieces of an answer's body; 0: for ever. */
    readonly responseIdleMs: number;
    /** The same of a `text/event-stream`. */
    readonly eventIdleMs: number;
    readonly idleMs: number;
  };
}

/** How many workers there are later. `auto`: as many as there is memory for, at most as at first. */
export type Sizing =
  | { readonly type: 'fixed' }
  | { readonly type: 'auto' }
  | {
      readonly type: 'load';
      readonly min: number;
      readonly max: number;
      /** Low load for so long takes one away. */
      readonly downAfterMs: number;
    };

export interface WorkerIdentityConfig {
  /** null: the owner of the directory, or nobody, when started as root. */
  readonly user: string | null;
  /** null: the user's. */
  readonly group: string | null;
  /** Supplementary groups; null: those the user has. */
  readonly groups: readonly string[] | null;
  /** null: files are for the worker and the proxies' group. */
  readonly umask: number | null;
  /** −20 to 19; null: ours. */
  readonly nice: number | null;
  /** CPUs as taskset takes them (`0-3,6`); null: all. */
  readonly cpuAffinity: string | null;
  /** By prlimit's names (`nofile`, `core`, `as` …), soft and hard; null: unlimited. */
  readonly rlimits: Readonly<Record<string, number | null>>;
}

export interface PrestartConfig {
  /** Letters, digits and ` ._-`: visitors see it when the step fails. */
  readonly name: string;
  readonly command: readonly string[];
  /** The same, as it may be told: without what came from variables. */
  readonly shownCommand: readonly string[];
  /** 0: as long as it takes. */
  readonly timeoutMs: number;
}

export interface UpstreamConfig {
  readonly protocol: 'http' | 'https' | 'h2c' | 'h2';
  /** As it is written: `http://host:port`, no path. */
  readonly url: string;
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly weight: number;
}

export type BalancingPolicy = 'least_conn' | 'round_robin' | 'random_two' | 'hash';
