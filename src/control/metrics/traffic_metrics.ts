/** Requests and connections, as the proxies count them. */
import {
  BYTES_IN,
  BYTES_OUT,
  DURATION,
  FIRST_BYTE,
  HISTOGRAM_LENGTH,
  NONE,
  PROTOCOLS,
  REQUESTS,
  STATUS_CLASSES,
} from '../../request_counts.ts';
import type { RequestCounts } from '../../request_counts.ts';
import type { ControlPlane } from '../plane.ts';
import { counter, gauge, histogram } from './families.ts';
import type { Family, Row } from './families.ts';

const BOTH = ['site', 'service'] as const;

export function trafficMetrics({ config, proxies }: Pick<ControlPlane, 'config' | 'proxies'>): readonly Family[] {
  const sites = new Set([...config.sites.map(({ name }) => name), NONE]);
  const services = new Set([...config.services.map(({ name }) => name), NONE]);
  const rows = proxies.requestCounts(({ site, service }) => sites.has(site) && services.has(service));
  const each = (at: number): Row[] => rows.map(({ site, service, counts }) => [counts[at] ?? 0, site, service]);
  const times = (at: number): (readonly [number[], string, string])[] =>
    rows.map(({ site, service, counts }) => [counts.slice(at, at + HISTOGRAM_LENGTH), site, service]);
  const entrypoints = config.entrypoints.map(({ name, tls }) => ({ name, tls, ...proxies.entrypointStats(name) }));
  const running = proxies.status();
  const inFlight = running.reduce((sum, { stats }) => sum + (stats?.inFlight ?? 0), 0);
  return [
    counter(
      'proxy_http_requests_total',
      'Requests answered or given up, by site, service, class of the status and protocol; "-" stands for no site of ours, and for an answer of our own',
      [...BOTH, 'status', 'protocol'],
      rows.flatMap(requestRows),
    ),
    histogram(
      'proxy_http_request_duration_seconds',
      'From the head of a request to the last byte of its answer; WebSockets are left out',
      BOTH,
      times(DURATION),
    ),
    histogram(
      'proxy_http_upstream_first_byte_seconds',
      'From the moment a worker was given a request to the head of its answer',
      BOTH,
      times(FIRST_BYTE).filter(([counts]) => counts.some((count) => count > 0)),
    ),
    counter('proxy_http_request_body_bytes_total', 'Bytes of request bodies', BOTH, each(BYTES_IN)),
    counter('proxy_http_response_body_bytes_total', 'Bytes of answers, without their heads', BOTH, each(BYTES_OUT)),
    gauge('proxy_http_requests_in_flight', 'Requests without their whole answer', [], [[inFlight]]),
    gauge(
      'proxy_connections_open',
      'Connections of clients, in a handshake or beyond',
      ['entrypoint'],
      entrypoints.map(({ name, open }) => [open, name]),
    ),
    counter(
      'proxy_connections_accepted_total',
      'Connections of clients so far',
      ['entrypoint'],
      entrypoints.map(({ name, accepted }) => [accepted, name]),
    ),
    counter(
      'proxy_connections_refused_total',
      'Connections closed at once, because of a limit or without the PROXY header they need',
      ['entrypoint'],
      entrypoints.map(({ name, refused }) => [refused, name]),
    ),
    counter(
      'proxy_tls_handshakes_total',
      'TLS handshakes, by how they ended',
      ['entrypoint', 'result'],
      entrypoints.flatMap(({ name, tls, handshakes, failedHandshakes }): Row[] =>
        tls
          ? [
              [handshakes, name, 'done'],
              [failedHandshakes, name, 'failed'],
            ]
          : [],
      ),
    ),
  ];
}

/** Those there were: most sites never see most of them. */
function requestRows({ site, service, counts }: RequestCounts): Row[] {
  return STATUS_CLASSES.flatMap((status, i) =>
    PROTOCOLS.flatMap((protocol, j): Row[] => {
      const count = counts[REQUESTS + i * PROTOCOLS.length + j] ?? 0;
      return count === 0 ? [] : [[count, site, service, status, protocol]];
    }),
  );
}
