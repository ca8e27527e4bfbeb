/** What the daemon tells, as far as it is shown: `proxy status --json`, samples and events. */
export type { Sample, ServiceSample } from '../samples.ts';

export interface Status {
  readonly version: string;
  readonly pid: number;
  readonly started_at: string;
  readonly configuration: string;
  readonly listeners: readonly { readonly name: string; readonly address: string; readonly tls: boolean }[];
  readonly proxies: readonly ProxyView[];
  readonly certificates: readonly CertificateView[];
  readonly services: readonly ServiceView[];
}

export interface ProxyView {
  readonly slot: number;
  readonly pid: number | null;
  readonly state: string;
  readonly started_at: string | null;
  readonly restarts: number;
  readonly connections: number;
  readonly requests: number;
  readonly in_flight: number;
}

export interface CertificateView {
  readonly name: string;
  readonly issuer: string;
  readonly not_before: string | null;
  readonly not_after: string | null;
  readonly renew_at: string | null;
  readonly last_error: string | null;
}

export interface ServiceView {
  readonly name: string;
  /** null: its upstreams are not ours. */
  readonly state: string | null;
  readonly held: { readonly admission: string; readonly message: string } | null;
  readonly ready: number;
  readonly workers: readonly WorkerView[];
  readonly upstreams: readonly { readonly id: string; readonly in_flight: number }[];
}

export interface WorkerView {
  readonly id: string;
  readonly pid: number | null;
  readonly state: string;
  readonly started_at: string | null;
  readonly next_start_at: string | null;
  readonly restarts: number;
  readonly restarts_by_reason: Readonly<Record<string, number>>;
  readonly memory: number | null;
  readonly cpu: number | null;
  readonly in_flight: number;
  readonly last_exit: string | null;
}

export interface LoggedEvent {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}
