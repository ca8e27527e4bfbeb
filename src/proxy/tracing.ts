/**
 * Spans of requests, sent to a collector by OTLP over HTTP. The packages for it are loaded when it is asked for, before rights
 * are dropped. Bounded, as logs are: when the collector is slower than the requests, spans are dropped and counted.
 */
import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import type { AccessRecord } from './access_lines.ts';
import type { SiteRoute } from './router.ts';
import type { Logger } from '../log.ts';
import type { TracingTarget } from '../snapshot.ts';
import { VERSION } from '../version.ts';

type Span = Parameters<OTLPTraceExporter['export']>[0][number];
type SpanContext = ReturnType<Span['spanContext']>;

// Of @opentelemetry/api, whose enums would have to be loaded.
const SERVER = 1;
const UNSET = 0;
const ERROR = 2;

const MAX_QUEUED = 4_096;
const BATCH = 512;
const FLUSH_INTERVAL_MS = 1_000;
const TIMEOUT_MS = 10_000;
const SCOPE = { name: 'proxy', version: VERSION };

export interface Tracing {
  /** The share of traces that begin here and are recorded. */
  readonly sample: number;
  /** `parent` is the client's `traceparent`, or empty; both records are the caller's again once this returns. */
  record(record: AccessRecord, parent: string, route: SiteRoute | null): void;
  flushed(): Promise<void>;
}

export async function loadTracing(target: TracingTarget): Promise<(log: Logger) => Tracing> {
  const { OTLPTraceExporter: Exporter } = await import('@opentelemetry/exporter-trace-otlp-http');
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  const resource = resourceFromAttributes({ 'service.name': target.serviceName, 'service.version': VERSION });
  return (log) => {
    const exporter = new Exporter({ url: target.endpoint, timeoutMillis: TIMEOUT_MS, concurrencyLimit: 1 });
    let queue: Span[] = [];
    let lost = 0;
    let sending: Promise<void> | null = null;
    const send = (batch: Span[]): Promise<void> =>
      new Promise((resolve) => {
        exporter.export(batch, ({ error }) => {
          if (error !== undefined) {
            lost += batch.length;
            log.warn('spans_not_sent', { endpoint: target.endpoint, spans: batch.length, error });
          }
          resolve();
        });
      });
    const drain = async (): Promise<void> => {
      while (queue.length > 0) {
        const batch = queue.slice(0, BATCH);
        queue = queue.slice(BATCH);
        await send(batch);
      }
    };
    const flush = (): Promise<void> => {
      if (lost > 0 && sending === null) {
        log.warn('spans_lost', { spans: lost });
        lost = 0;
      }
      sending ??= drain().finally(() => (sending = null));
      return sending;
    };
    setInterval(() => void flush(), FLUSH_INTERVAL_MS).unref();
    return {
      sample: target.sample,
      record: (record, parent, route) => {
        if (!record.traceparent.endsWith('1')) return;
        if (queue.length >= MAX_QUEUED) lost++;
        else queue.push(spanOf(record, parent, route, resource));
      },
      flushed: flush,
    };
  };
}

/** Names are those of OpenTelemetry's semantic conventions for HTTP servers. */
function spanOf(r: AccessRecord, parent: string, route: SiteRoute | null, resource: Span['resource']): Span {
  const context = contextOf(r.traceparent);
  const endMs = Date.now();
  const attributes: Record<string, string | number> = {
    'http.request.method': r.method === '' ? '_OTHER' : r.method,
    'http.response.status_code': r.status,
    'url.path': r.target.split('?', 1)[0] ?? '',
    'server.address': r.host,
    'client.address': r.remote,
    'network.protocol.version': r.protocol.slice('HTTP/'.length),
    'http.request.body.size': r.bytesIn,
    'http.response.body.size': r.bytesOut,
    'proxy.request_id': r.requestId,
    'proxy.queue_ms': r.queuedMs,
    'proxy.attempts': r.attempts,
  };
  if (r.userAgent !== null) attributes['user_agent.original'] = r.userAgent;
  if (r.firstByteMs >= 0) attributes['proxy.first_byte_ms'] = r.firstByteMs;
  if (r.worker !== null) attributes['proxy.worker'] = r.worker;
  if (r.failure !== null) attributes['error.type'] = r.failure;
  if (route !== null) attributes['proxy.site'] = route.site.name;
  if (route !== null && route.service !== null) attributes['proxy.service'] = route.service;
  return {
    name: r.method === '' ? 'HTTP' : r.method,
    kind: SERVER,
    spanContext: () => context,
    ...(parent === '' ? {} : { parentSpanContext: { ...contextOf(parent), isRemote: true } }),
    startTime: hrTime(endMs - r.durationMs),
    endTime: hrTime(endMs),
    duration: hrTime(r.durationMs),
    ended: true,
    // Of a server's span, a client's mistake is no error.
    status: { code: r.status >= 500 ? ERROR : UNSET },
    attributes,
    links: [],
    events: [],
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function contextOf(traceparent: string): SpanContext {
  return {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: traceparent.endsWith('1') ? 1 : 0,
  };
}

function hrTime(ms: number): [seconds: number, nanoseconds: number] {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.floor((ms - seconds * 1000) * 1e6)];
}
