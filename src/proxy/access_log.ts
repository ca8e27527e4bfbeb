/**
 * Access lines, collected and handed on in batches of whole lines. Bounded: when the reader is slower than the
 * requests, lines are dropped and counted rather than kept in memory or waited for.
 */
import { escapeControls } from '../log.ts';

const FLUSH_INTERVAL_MS = 100;
const FLUSH_SIZE = 32 * 1024;
const MAX_FIELD = 1024;

export interface AccessRecord {
  readonly remote: string;
  readonly method: string;
  readonly host: string;
  readonly target: string;
  readonly protocol: string;
  readonly status: number;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly requestId: string;
  readonly site: string | null;
  readonly service: string | null;
  readonly worker: string | null;
  readonly attempts: number;
  readonly tls: string | null;
  readonly userAgent: string | null;
  /** Why it ended otherwise than by the worker's whole answer. */
  readonly failure: string | null;
}

export interface AccessLog {
  write(record: AccessRecord): void;
  flush(): void;
}

/** `send` takes a batch of so many lines, or drops it. */
export function createAccessLog(format: 'text' | 'json', send: (lines: string, count: number) => void): AccessLog {
  let batch = '';
  let count = 0;
  const flush = (): void => {
    if (count === 0) return;
    send(batch, count);
    batch = '';
    count = 0;
  };
  setInterval(flush, FLUSH_INTERVAL_MS).unref();
  const line = format === 'json' ? jsonLine : textLine;
  return {
    write: (record) => {
      batch += line(record);
      count++;
      if (batch.length >= FLUSH_SIZE) flush();
    },
    flush,
  };
}

let second = 0;
let secondText = '';

/** ISO 8601 in UTC; its seconds are formatted once each. */
function timestamp(): string {
  const now = Date.now();
  const whole = Math.floor(now / 1000);
  if (whole !== second) {
    second = whole;
    secondText = new Date(whole * 1000).toISOString().slice(0, 20);
  }
  return `${secondText}${String(now % 1000).padStart(3, '0')}Z`;
}

function jsonLine(r: AccessRecord): string {
  return (
    `{"time":"${timestamp()}","level":"info","event":"access","remote":"${r.remote}","method":${quoted(r.method)},` +
    `"host":${quoted(r.host)},"target":${quoted(r.target)},"protocol":"${r.protocol}","status":${r.status},` +
    `"duration_ms":${Math.round(r.durationMs * 10) / 10},"bytes_in":${r.bytesIn},"bytes_out":${r.bytesOut},` +
    `"request_id":"${r.requestId}"` +
    (r.site === null ? '' : `,"site":${quoted(r.site)}`) +
    (r.service === null ? '' : `,"service":${quoted(r.service)}`) +
    (r.worker === null ? '' : `,"worker":${quoted(r.worker)}`) +
    (r.attempts === 0 ? '' : `,"attempts":${r.attempts}`) +
    (r.tls === null ? '' : `,"tls":"${r.tls}"`) +
    (r.userAgent === null ? '' : `,"user_agent":${quoted(r.userAgent)}`) +
    (r.failure === null ? '' : `,"failure":"${r.failure}"`) +
    '}\n'
  );
}

function textLine(r: AccessRecord): string {
  const tail = `${r.worker ?? ''}${r.failure === null ? '' : ` ${r.failure}`}`;
  return (
    `${timestamp().slice(11, 23)} ${r.remote} ${plain(r.method)} ${plain(r.host)}${plain(r.target)} ${r.status} ` +
    `${r.bytesOut}B ${Math.round(r.durationMs)}ms ${tail}\n`
  );
}

/** Characters that stand for themselves in a JSON string and do no harm anywhere else. */
const HARMLESS = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function quoted(text: string): string {
  const short = text.length > MAX_FIELD ? text.slice(0, MAX_FIELD) : text;
  return HARMLESS.test(short) ? `"${short}"` : escapeControls(JSON.stringify(short));
}

function plain(text: string): string {
  return escapeControls(text.length > MAX_FIELD ? text.slice(0, MAX_FIELD) : text);
}
