/**
 * What crosses the boundary between the control plane and its proxies: immutable parts, each replaced whole, and the
 * few messages around them.
 */

import type { RequestCounts } from './request_counts.ts';

/** Where a proxy writes its log lines: a pipe to the control plane of their own, which no message waits behind. */
export const LOG_FD = 4;

export interface Parts {
  readonly sites: SitesPart;
  readonly certificates: CertificatesPart;
  readonly challenges: ChallengesPart;
  readonly upstreams: UpstreamsPart;
  readonly ticket_keys: TicketKeysPart;
  readonly limits: LimitsPart;
}
export type PartName = keyof Parts;
export const PART_NAMES: readonly PartName[] = [
  'limits',
  'ticket_keys',
  'certificates',
  'challenges',
  'upstreams',
  'sites',
];

/** By status, as in `503` and `5xx`. */
export type ErrorPages = Readonly<Record<string, { readonly type: string; readonly body: string }>>;

export interface SitesPart {
  readonly sites: readonly SiteEntry[];
}
export interface SiteEntry {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly tls: boolean;
  /** null: plain requests are served, not redirected; else the public port of https. */
  readonly redirectHttpsPort: number | null;
  /** Longest prefix first. */
  readonly routes: readonly RouteEntry[];
  readonly maxBodySize: number;
  readonly errorPages: ErrorPages;
  readonly headers: { readonly request: HeaderEdits; readonly response: HeaderEdits };
  readonly hsts: {
    /** null: nothing is said; 0 takes back what was said before. */
    readonly maxAgeSeconds: number | null;
    readonly includeSubdomains: boolean;
    readonly preload: boolean;
  };
}
/** Names as they are to be written; what is set replaces what was there. */
export interface HeaderEdits {
  readonly set: Readonly<Record<string, string>>;
  readonly remove: readonly string[];
}
export type RouteEntry =
  | {
      readonly path: string;
      readonly service: string;
      readonly stripPrefix: boolean;
      /** Protocols a connection may change to, as they are to be written. */
      readonly upgrades: readonly string[];
    }
  | { readonly path: string; readonly redirect: { readonly to: string; readonly status: number } };

export interface CertificatesPart {
  readonly certificates: readonly CertificateEntry[];
  /** Host names that have no certificate yet, and the reason a person should read. */
  readonly pending: Readonly<Record<string, string>>;
}
export interface CertificateEntry {
  readonly id: string;
  /** Lower-case DNS names (one leading `*.` allowed) and IP addresses it may serve. */
  readonly names: readonly string[];
  readonly certificate: string;
  readonly key: string;
}

export interface ChallengesPart {
  /** http-01: token → key authorization. */
  readonly http01: Readonly<Record<string, string>>;
  /** tls-alpn-01: the server name that is asked for → PEM of the certificate to show, and of its key. */
  readonly tlsAlpn01: Readonly<Record<string, string>>;
}
export type ChallengeName = 'http-01' | 'tls-alpn-01';

export interface UpstreamsPart {
  readonly services: readonly ServiceEntry[];
}
export interface ServiceEntry {
  readonly name: string;
  readonly policy: 'least_conn' | 'round_robin' | 'random_two' | 'hash';
  /** What policy `hash` binds to a target; `name` in lower case for a header, as it is for a cookie. */
  readonly hash: { readonly by: 'client' } | { readonly by: 'header' | 'cookie'; readonly name: string } | null;
  /** Name of the cookie that binds a browser to a target. */
  readonly stickyCookie: string | null;
  readonly slowStartMs: number;
  /** So many failures in a row put a target out for `ejectMs`; 0: never. */
  readonly ejectAfter: number;
  readonly ejectMs: number;
  /** Requests of this proxy that may wait for a target, and for how long. */
  readonly queueMax: number;
  readonly queueTimeoutMs: number;
  /** Requests in flight of this proxy for each target; 0: no limit. */
  readonly concurrency: number;
  /** How long tunnels and streams of events may go on at a target that left. */
  readonly streamsMs: number;
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  /** A worker that owes an answer for so long is taken to hang. */
  readonly livenessMs: number;
  /** Between pieces of an answer; of a stream of events. 0: for ever. */
  readonly bodyIdleMs: number;
  readonly eventIdleMs: number;
  readonly idleTimeoutMs: number;
  /** PEM of what upstreams' certificates may go back to; null: the system's roots. */
  readonly trustedRoots: string | null;
  readonly targets: readonly TargetEntry[];
  /** Requests wait although there are targets. */
  readonly paused: boolean;
  /** Why there is no target, or none is asked, for the 503. */
  readonly unavailable: string | null;
}
export interface TargetEntry {
  /** Unique for the life of the control plane: service, slot and generation, or the upstream's URL. */
  readonly id: string;
  /** What stays the same when a worker is replaced. */
  readonly place: string;
  readonly protocol: UpstreamProtocol;
  readonly address: Address;
  /** Of https and h2: the name the upstream must prove. */
  readonly serverName: string;
  /** Relative share, 1 or more. */
  readonly weight: number;
  /** False: asked only when most are. */
  readonly healthy: boolean;
}
export type UpstreamProtocol = 'http' | 'https' | 'h2c' | 'h2';
export type Address = { readonly path: string } | { readonly host: string; readonly port: number };

export interface TicketKeysPart {
  /** 48 random bytes, base64. */
  readonly key: string;
  /** Signs the cookies that bind browsers to workers: 32 random bytes, base64. */
  readonly affinityKey: string;
}

export interface LimitsPart {
  readonly entrypoints: readonly EntrypointEntry[];
  /** null: there is none. */
  readonly accessLog: AccessLogTarget | null;
  /** Addresses, networks and `private_ranges`. */
  readonly trustedProxies: readonly string[];
  readonly forwardedHeader: boolean;
  readonly requestIdHeader: boolean;
  /** For whom no site has one. */
  readonly errorPages: ErrorPages;
}
export interface AccessLogTarget {
  /** It is there, and ours to append to; null: stdout, through the control plane. */
  readonly file: string | null;
  /** auto: as other lines are. */
  readonly format: 'auto' | 'text' | 'json' | 'combined';
  /** The share of requests that get a line, above 0 and at most 1; errors always do. */
  readonly sample: number;
}
export interface EntrypointEntry {
  readonly name: string;
  readonly tls: boolean;
  /** Connections begin with a header of the PROXY protocol, and come from trusted proxies only. */
  readonly proxyProtocol: boolean;
  /** Already this proxy's share, as is the next. */
  readonly maxConnections: number;
  /** 0: no limit, as in the next two. */
  readonly maxConnectionsPerClient: number;
  readonly maxRequests: number;
  /** Bytes a second, of request bodies and of answers that wait for their client. */
  readonly minRate: number;
  readonly maxHeaderSize: number;
  /** Fields of a request's head. */
  readonly maxHeaders: number;
  /** Bytes without its CRLF; in HTTP/2 of `:path`. */
  readonly maxRequestLine: number;
  /** Whether HTTP/2 is offered, and how many requests at once a connection may have. */
  readonly http2: boolean;
  readonly maxStreams: number;
  readonly headersMs: number;
  readonly idleMs: number;
  readonly bodyIdleMs: number;
  readonly writeIdleMs: number;
  readonly tunnelIdleMs: number;
}

/** Who gets spans: where OTLP is spoken over HTTP, and of which share of the traces that begin here. */
export interface TracingTarget {
  readonly endpoint: string;
  readonly sample: number;
  readonly serviceName: string;
}

/** Control plane → proxy. A `listen` message carries the listening socket's handle. */
export type ToProxy =
  | {
      readonly type: 'start';
      readonly build: string;
      readonly slot: number;
      readonly identity: Identity | null;
      readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'text' | 'json' };
      readonly tracing: TracingTarget | null;
    }
  | { readonly type: 'apply'; readonly part: PartName; readonly version: number; readonly value: Parts[PartName] }
  | { readonly type: 'listen'; readonly entrypoint: string; readonly slot: number }
  | { readonly type: 'unlisten'; readonly entrypoint: string; readonly slot: number }
  /** Log files may have been moved away: go on in new ones. */
  | { readonly type: 'reopen_logs' }
  /** To a `challenge_wanted`: as in the challenges part; null: nobody knows it. */
  | { readonly type: 'challenge_found'; readonly id: number; readonly answer: string | null }
  | { readonly type: 'drain'; readonly graceMs: number };

/** Proxy → control plane. */
export type FromProxy =
  | { readonly type: 'hello'; readonly build: string }
  | { readonly type: 'started' }
  | { readonly type: 'applied'; readonly part: PartName; readonly version: number }
  | { readonly type: 'listening'; readonly entrypoint: string; readonly slot: number }
  /** A target that left the upstreams part has no request of this proxy any more. */
  | { readonly type: 'released'; readonly target: string }
  /** A target refused a connection. */
  | { readonly type: 'target_failed'; readonly target: string }
  /** Requests a target did not answer because it went away. */
  | {
      readonly type: 'requests_lost';
      readonly target: string;
      /** Those that may still be answered by another, at the moment. */
      readonly open: number;
      /** Those that are settled since the last such message, and of as many as may be, what became of each. */
      readonly count: number;
      readonly requests: readonly LostRequest[];
    }
  /** Somebody asks for the answer to a challenge this proxy was not told of: another instance may know it. */
  | {
      readonly type: 'challenge_wanted';
      readonly challenge: ChallengeName;
      /** Token or server name, well-formed. */
      readonly key: string;
      readonly id: number;
    }
  | ({ readonly type: 'stats' } & ProxyStats)
  | { readonly type: 'drained' };

/** As many requests are told of one by one. */
export const MAX_LOST = 100;

export interface LostRequest {
  readonly id: string;
  /** It was sent to another worker, or again. */
  readonly retried: boolean;
  /** The last that was asked. */
  readonly worker: string | null;
  /** What the client got, or would have. */
  readonly status: number;
  /** null: the whole answer of a worker. */
  readonly failure: string | null;
}

export interface ProxyStats {
  readonly connections: number;
  readonly requests: number;
  readonly inFlight: number;
  /** Log lines nobody took, so far. */
  readonly droppedLines: number;
  /** By target id; those this proxy has nothing to tell of since its start are left out. */
  readonly targets: Readonly<Record<string, TargetStats>>;
  /** By service. */
  readonly services: Readonly<Record<string, ServiceStats>>;
  /** By entrypoint. */
  readonly entrypoints: Readonly<Record<string, EntrypointStats>>;
  /** Those that changed since the last message. */
  readonly requestCounts: readonly RequestCounts[];
}

export interface TargetStats {
  readonly inFlight: number;
  /** Tunnels and streams of events among them. */
  readonly streams: number;
  /** Given to it so far, and answers that began. */
  readonly requests: number;
  readonly answers: number;
  /** How long the oldest request without a byte of an answer waits, in milliseconds; 0: there is none. */
  readonly oldestUnansweredMs: number;
  /** How long ago the last byte of any answer came from it, or it was first heard of, in milliseconds. */
  readonly silentMs: number;
}

export interface ServiceStats {
  /** Requests that wait for a target, and how long the oldest has, in milliseconds. */
  readonly queued: number;
  readonly queuedMs: number;
  /** Sent away with 503 so far, because the queue was full or the wait too long. */
  readonly shed: number;
  /** Sent to another target, or once more to the same, and targets put out for a while, so far. */
  readonly retries: number;
  readonly ejections: number;
  /** How long those waited that wait no more: a histogram of `request_counts.ts`. */
  readonly waits: readonly number[];
}

/** Connections, open now and so far; those not served because of a limit, or who they come from; TLS handshakes. */
export interface EntrypointStats {
  readonly open: number;
  readonly accepted: number;
  readonly refused: number;
  readonly handshakes: number;
  readonly failedHandshakes: number;
}

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
}

/**
 * Says whether a value is a message of ours. Both ends are the same build (the first message proves it), so the parts'
 * insides are what the other side's types say; the envelope is checked, as anything could have been sent on the channel.
 */
export function parseToProxy(value: unknown): ToProxy | null {
  if (!isRecord(value)) return null;
  switch (value['type']) {
    case 'start':
      return typeof value['build'] === 'string' && typeof value['slot'] === 'number' && isRecord(value['log'])
        ? (value as ToProxy)
        : null;
    case 'apply':
      return isPartName(value['part']) && typeof value['version'] === 'number' && isRecord(value['value'])
        ? (value as ToProxy)
        : null;
    case 'listen':
    case 'unlisten':
      return typeof value['entrypoint'] === 'string' && typeof value['slot'] === 'number' ? (value as ToProxy) : null;
    case 'reopen_logs':
      return value as ToProxy;
    case 'challenge_found':
      return typeof value['id'] === 'number' && (value['answer'] === null || typeof value['answer'] === 'string')
        ? (value as ToProxy)
        : null;
    case 'drain':
      return typeof value['graceMs'] === 'number' ? (value as ToProxy) : null;
    default:
      return null;
  }
}

export function parseFromProxy(value: unknown): FromProxy | null {
  if (!isRecord(value)) return null;
  switch (value['type']) {
    case 'hello':
      return typeof value['build'] === 'string' ? (value as FromProxy) : null;
    case 'applied':
      return isPartName(value['part']) && typeof value['version'] === 'number' ? (value as FromProxy) : null;
    case 'listening':
      return typeof value['entrypoint'] === 'string' && typeof value['slot'] === 'number' ? (value as FromProxy) : null;
    case 'released':
    case 'target_failed':
      return typeof value['target'] === 'string' ? (value as FromProxy) : null;
    case 'requests_lost':
      return typeof value['target'] === 'string' &&
        typeof value['open'] === 'number' &&
        Array.isArray(value['requests'])
        ? (value as FromProxy)
        : null;
    case 'challenge_wanted':
      return (value['challenge'] === 'http-01' || value['challenge'] === 'tls-alpn-01') &&
        typeof value['key'] === 'string' &&
        typeof value['id'] === 'number'
        ? (value as FromProxy)
        : null;
    case 'stats':
      return typeof value['requests'] === 'number' && isRecord(value['targets']) ? (value as FromProxy) : null;
    case 'started':
    case 'drained':
      return value as FromProxy;
    default:
      return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isPartName(value: unknown): value is PartName {
  return PART_NAMES.some((name) => name === value);
}
