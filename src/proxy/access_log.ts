/**
 * Access lines, written one by one into a batch that is handed on whole. What is the same for a connection, a route or a
 * worker is formatted once.
 */
import type { LogSink } from './log_sinks.ts';

const FLUSH_INTERVAL_MS = 100;
const BATCH_SIZE = 64 * 1024;
/** Bytes of a client's that are logged; escaped, one may take six. */
const MAX_FIELD = 1024;

export interface AccessRecord {
  /** Of the connection: `clientFields`. */
  client: string;
  /** Of the site and its route: `routeFields`. */
  route: string;
  remote: string;
  method: string;
  host: string;
  target: string;
  status: number;
  durationMs: number;
  bytesIn: number;
  bytesOut: number;
  requestId: string;
  worker: string | null;
  attempts: number;
  userAgent: string | null;
  /** Why it ended otherwise than by the worker's whole answer. */
  failure: string | null;
}

export interface AccessLog {
  /** The record is the caller's again once this returns. */
  write(record: AccessRecord): void;
  flush(): void;
}

/** `sink` is asked for at each batch. */
export function createAccessLog(format: () => 'text' | 'json', sink: () => LogSink): AccessLog {
  let batch = Buffer.allocUnsafeSlow(BATCH_SIZE);
  let length = 0;
  let count = 0;
  const flush = (): void => {
    if (count === 0) return;
    sink().write(batch.subarray(0, length), count);
    batch = Buffer.allocUnsafeSlow(BATCH_SIZE);
    length = 0;
    count = 0;
  };
  setInterval(flush, FLUSH_INTERVAL_MS).unref();
  return {
    write: (record) => {
      const line = format() === 'json' ? jsonLine(record) : textLine(record);
      if (length + line.length > BATCH_SIZE) flush();
      // Every character is of ASCII.
      length += batch.write(line, length, 'latin1');
      count++;
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
  return `${secondText}${THREE_DIGITS[now - whole * 1000]}Z`;
}

const THREE_DIGITS = Array.from({ length: 1000 }, (_, i) => String(i).padStart(3, '0'));

/** What every JSON line of a connection says; an address and what we call protocols are harmless. */
export function clientFields(remote: string, protocol: string, tls: string | null): string {
  return `"remote":"${remote}","protocol":"${protocol}"${tls === null ? '' : `,"tls":"${tls}"`}`;
}

export function routeFields(site: string, service: string | null): string {
  return `,"site":${quoted(site)}${service === null ? '' : `,"service":${quoted(service)}`}`;
}

const workers = new Map<string, string>();

function workerField(worker: string): string {
  let text = workers.get(worker);
  if (text === undefined) {
    text = `,"worker":${quoted(worker)}`;
    // Every restart makes a new one.
    if (workers.size >= 1_000) workers.clear();
    workers.set(worker, text);
  }
  return text;
}

function jsonLine(r: AccessRecord): string {
  const tenths = Math.round(r.durationMs * 10);
  const whole = Math.floor(tenths / 10);
  // Methods, hosts and targets have no byte that means something in JSON: a request that has is refused, and says none.
  return (
    `{"time":"${timestamp()}","level":"info","event":"access",${r.client},"method":"${r.method}",` +
    `"host":"${short(r.host)}","target":"${short(r.target)}","status":${r.status},` +
    `"duration_ms":${whole}.${tenths - whole * 10},"bytes_in":${r.bytesIn},"bytes_out":${r.bytesOut},` +
    `"request_id":"${r.requestId}"${r.route}` +
    (r.worker === null ? '' : workerField(r.worker)) +
    (r.attempts === 0 ? '' : `,"attempts":${r.attempts}`) +
    (r.userAgent === null ? '' : `,"user_agent":${quoted(r.userAgent)}`) +
    (r.failure === null ? '}\n' : `,"failure":"${r.failure}"}\n`)
  );
}

function textLine(r: AccessRecord): string {
  const tail = `${r.worker ?? ''}${r.failure === null ? '' : ` ${r.failure}`}`;
  return (
    `${timestamp().slice(11, 23)} ${r.remote} ${r.method} ${short(r.host)}${short(r.target)} ${r.status} ` +
    `${r.bytesOut}B ${Math.round(r.durationMs)}ms ${escaped(tail)}\n`
  );
}

function short(text: string): string {
  return text.length > MAX_FIELD ? text.slice(0, MAX_FIELD) : text;
}

/** Characters that stand for themselves in a JSON string and do no harm anywhere else. */
const HARMLESS = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function quoted(text: string): string {
  const part = short(text);
  return HARMLESS.test(part) ? `"${part}"` : escaped(JSON.stringify(part));
}

/** ASCII alone: no control, no line end in any encoding, nothing that changes a line's direction. */
function escaped(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
