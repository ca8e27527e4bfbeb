/**
 * What a line of the access log says, in each format. What is the same for a connection, a route or a worker is formatted
 * once. Every character is printable ASCII, whatever a client sent: no line can be broken, forged or made to move a cursor.
 */

export interface AccessRecord {
  /** Of the connection: `clientFields`. */
  client: string;
  /** Of the site and its route: `routeFields`. */
  route: string;
  remote: string;
  protocol: string;
  method: string;
  host: string;
  target: string;
  status: number;
  durationMs: number;
  /** Until the worker's head was there; -1: it never was. */
  firstByteMs: number;
  /** How long it waited for a worker. */
  queuedMs: number;
  bytesIn: number;
  bytesOut: number;
  requestId: string;
  /** As `traceparent` says it; empty: it belongs to none. */
  traceparent: string;
  worker: string | null;
  attempts: number;
  reused: boolean;
  /** Why it was asked again, and who had been asked before. */
  retryCause: string | null;
  retryWorker: string | null;
  userAgent: string | null;
  referer: string | null;
  /** Why it ended otherwise than by the worker's whole answer, as a word and as it was told. */
  failure: string | null;
  reason: string;
}

export type AccessFormat = 'text' | 'json' | 'combined';

export const ACCESS_LINES: Readonly<Record<AccessFormat, (record: AccessRecord) => string>> = {
  text: textLine,
  json: jsonLine,
  combined: combinedLine,
};

/** Bytes of a client's that are logged; escaped, one may take six. */
const MAX_FIELD = 1024;

/** What every JSON line of a connection says; an address and what we call protocols are harmless. */
export function clientFields(remote: string, protocol: string, tls: string | null): string {
  return `"remote":"${remote}","protocol":"${protocol}"${tls === null ? '' : `,"tls":"${tls}"`}`;
}

/** `path` null: no route of the site has the path. */
export function routeFields(site: string, path: string | null, service: string | null): string {
  return (
    `,"site":${quoted(site)}` +
    (path === null ? '' : `,"route":${quoted(path)}`) +
    (service === null ? '' : `,"service":${quoted(service)}`)
  );
}

const workers = new Map<string, string>();

function workerFields(worker: string): string {
  let text = workers.get(worker);
  if (text === undefined) {
    const generation = /\/g(\d+)$/.exec(worker)?.[1];
    text = `,"worker":${quoted(worker)}${generation === undefined ? '' : `,"generation":${generation}`}`;
    // Every restart makes a new one.
    if (workers.size >= 1_000) workers.clear();
    workers.set(worker, text);
  }
  return text;
}

function jsonLine(r: AccessRecord): string {
  // Methods, hosts and targets have no byte that means something in JSON: a request that has is refused, and says none.
  return (
    `{"time":"${timestamp()}","level":"info","event":"access",${r.client},"method":"${r.method}",` +
    `"host":"${short(r.host)}","target":"${short(withoutSecrets(r.target))}","status":${r.status},` +
    `"duration_ms":${tenths(r.durationMs)},"bytes_in":${r.bytesIn},"bytes_out":${r.bytesOut},` +
    `"request_id":"${r.requestId}"` +
    // As `traceIdOf`, in one piece.
    (r.traceparent === '' ? r.route : `,"trace_id":"${r.traceparent.slice(3, 35)}"${r.route}`) +
    (r.worker === null ? '' : workerFields(r.worker)) +
    (r.attempts === 0 ? '' : `,"attempts":${r.attempts},"reused":${r.reused}`) +
    (r.firstByteMs < 0 ? '' : `,"first_byte_ms":${tenths(r.firstByteMs)}`) +
    (r.queuedMs === 0 ? '' : `,"queue_ms":${tenths(r.queuedMs)}`) +
    (r.retryCause === null ? '' : `,"retry_cause":"${r.retryCause}","retry_worker":${quoted(r.retryWorker ?? '')}`) +
    (r.userAgent === null ? '' : `,"user_agent":${quoted(r.userAgent)}`) +
    (r.referer === null ? '' : `,"referer":${quoted(withoutSecrets(r.referer))}`) +
    (r.failure === null ? '}\n' : failureFields(r.failure, r.reason))
  );
}

function failureFields(failure: string, reason: string): string {
  return `,"failure":"${failure}"${reason === '' ? '' : `,"reason":${quoted(reason)}`}}\n`;
}

function textLine(r: AccessRecord): string {
  const tail = `${r.worker ?? ''}${r.failure === null ? '' : ` ${r.failure}`}`;
  return (
    `${timestamp().slice(11, 23)} ${r.remote} ${r.method} ${short(r.host)}${short(withoutSecrets(r.target))} ${r.status} ` +
    `${r.bytesOut}B ${Math.round(r.durationMs)}ms ${printable(tail)}\n`
  );
}

/** As Apache and nginx write it, nginx's escapes included: `"`, `\` and all that is no printable ASCII become `\xXX`. */
function combinedLine(r: AccessRecord): string {
  const protocol = r.protocol === 'HTTP/2' ? 'HTTP/2.0' : r.protocol;
  const line = r.method === '' ? '-' : `${r.method} ${short(withoutSecrets(r.target))} ${protocol}`;
  return (
    `${r.remote} - - [${commonTime()}] "${line}" ${r.status} ${r.bytesOut} ` +
    `"${r.referer === null ? '-' : hexEscaped(withoutSecrets(r.referer))}" ` +
    `"${r.userAgent === null ? '-' : hexEscaped(r.userAgent)}"\n`
  );
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

let commonSecond = 0;
let commonText = '';

/** `24/Nov/2026:17:00:00 +0000`. */
function commonTime(): string {
  const whole = Math.floor(Date.now() / 1000);
  if (whole !== commonSecond) {
    commonSecond = whole;
    // `Tue, 24 Nov 2026 17:00:00 GMT`.
    const [, day, month, year, time] = new Date(whole * 1000).toUTCString().split(' ');
    commonText = `${day}/${month}/${year}:${time} +0000`;
  }
  return commonText;
}

function tenths(ms: number): string {
  const all = Math.round(ms * 10);
  const whole = Math.floor(all / 10);
  return `${whole}.${all - whole * 10}`;
}

function short(text: string): string {
  return text.length > MAX_FIELD ? text.slice(0, MAX_FIELD) : text;
}

/** What queries call that which lets its holder in: it is for the app alone. */
const SECRET =
  /([?&](?:[a-z0-9_.-]*(?:token|secret|password|passwd|signature|api_?key|session)|code|auth|jwt|sig|pwd|key)=)[^&#]+/gi;

/** The values of such parameters become `***`. */
export function withoutSecrets(target: string): string {
  return target.includes('?') ? target.replace(SECRET, '$1***') : target;
}

/** Characters that stand for themselves in a JSON string and do no harm anywhere else. */
const HARMLESS = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function quoted(text: string): string {
  const part = short(text);
  return HARMLESS.test(part) ? `"${part}"` : printable(JSON.stringify(part));
}

/** ASCII alone: no control, no line end in any encoding, nothing that changes a line's direction. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function hexEscaped(text: string): string {
  const part = short(text);
  if (HARMLESS.test(part)) return part;
  return part.replace(
    /[^\x20\x21\x23-\x5b\x5d-\x7e]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
