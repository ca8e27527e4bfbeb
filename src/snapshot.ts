/**
 * What crosses the boundary between the control plane and its proxies: immutable parts, each replaced whole, and the
 * few messages around them.
 */

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
}
export type RouteEntry =
  | { readonly path: string; readonly service: string; readonly stripPrefix: boolean }
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
}

export interface UpstreamsPart {
  readonly services: readonly ServiceEntry[];
}
export interface ServiceEntry {
  readonly name: string;
  readonly policy: 'least_conn' | 'round_robin';
  readonly retries: number;
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly targets: readonly TargetEntry[];
  /** Why there is no target, for the 503. */
  readonly unavailable: string | null;
}
export interface TargetEntry {
  /** Unique for the life of the control plane: service, slot and generation, or the upstream's URL. */
  readonly id: string;
  readonly address: Address;
}
export type Address = { readonly path: string } | { readonly host: string; readonly port: number };

export interface TicketKeysPart {
  /** 48 random bytes, base64. */
  readonly key: string;
}

export interface LimitsPart {
  readonly entrypoints: readonly EntrypointEntry[];
  readonly accessLog: boolean;
}
export interface EntrypointEntry {
  readonly name: string;
  readonly tls: boolean;
  /** Already this proxy's share. */
  readonly maxConnections: number;
  readonly maxHeaderSize: number;
  readonly headersMs: number;
  readonly idleMs: number;
  readonly bodyIdleMs: number;
  readonly writeIdleMs: number;
}
