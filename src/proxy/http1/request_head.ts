/** A request's head, parsed strictly (RFC 9112): what two parsers could read differently is refused, not repaired. */
import { METHODS } from 'node:http';
import { HEX, TARGET } from './chars.ts';
import { FieldScanner, FieldTable, ForwardedLines, matches, parseConnection, parseContentLength } from './fields.ts';
import { parseAuthority } from './host.ts';
import { normalizePath } from './path.ts';
import { isTraceparent } from '../trace_context.ts';

const KNOWN_METHODS = new Set(METHODS);

export type FieldKind =
  | 'host'
  | 'content_length'
  | 'transfer_encoding'
  | 'connection'
  | 'expect'
  | 'user_agent'
  | 'referer'
  | 'upgrade'
  | 'te'
  | 'forwarded_for'
  | 'forwarded_proto'
  | 'forwarded_host'
  | 'request_id'
  | 'traceparent'
  | 'tracestate'
  | 'reason'
  /** Meant for this connection only, or something only a proxy may say: never passed on. */
  | 'drop';

/** RFC 9110 section 7.6.1; `proxy` because CGI would turn it into HTTP_PROXY. */
export const FIELDS = new FieldTable<FieldKind>({
  host: 'host',
  'content-length': 'content_length',
  'transfer-encoding': 'transfer_encoding',
  connection: 'connection',
  expect: 'expect',
  'user-agent': 'user_agent',
  referer: 'referer',
  'keep-alive': 'drop',
  'proxy-connection': 'drop',
  'proxy-authorization': 'drop',
  te: 'te',
  trailer: 'drop',
  upgrade: 'upgrade',
  'x-forwarded-for': 'forwarded_for',
  'x-forwarded-proto': 'forwarded_proto',
  'x-forwarded-host': 'forwarded_host',
  'http2-settings': 'drop',
  forwarded: 'drop',
  via: 'drop',
  proxy: 'drop',
  'x-real-ip': 'drop',
  'x-request-id': 'request_id',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  'x-proxy-reason': 'reason',
});
const FORWARDED_PREFIX = 'x-forwarded-';

/** To have one of these removed on the way is only ever an attack. */
const NEVER_NOMINATED =
  /^(?:host|content-length|transfer-encoding|content-type|cookie|authorization|forwarded|x-forwarded-.*|x-real-ip|x-request-id|traceparent|tracestate)$/;

/** How much of a head is taken; the entrypoint says it. */
export interface HeadLimits {
  /** Bytes of the head as a whole. */
  readonly maxHeaderSize: number;
  readonly maxHeaders: number;
  readonly maxRequestLine: number;
}

const fields = new FieldScanner();
const lines = new ForwardedLines();

export class RequestHead {
  method = '';
  /** Normalised origin-form, or `*`. */
  target = '';
  /** `target` up to the query. */
  path = '';
  minor: 0 | 1 = 1;
  /** The scheme of an absolute-form target; null for the usual origin-form. */
  scheme: 'http' | 'https' | null = null;
  /** Lower case, without port and trailing dot; IPv6 without brackets. Empty when an HTTP/1.0 client names none. */
  host = '';
  /** Host and port as the client wrote them. */
  authority = '';
  /** What a proxy in front says; believed only of a trusted one. All lines of the first, joined; of the others the last. */
  forwardedFor = '';
  forwardedProto = '';
  forwardedHost = '';
  bodyKind: 'none' | 'length' | 'chunked' = 'none';
  contentLength = 0;
  keepAlive = true;
  expectContinue = false;
  userAgent: string | null = null;
  referer: string | null = null;
  /** As the client says it; believed only of a trusted proxy. */
  requestId = '';
  /** Its only `traceparent` if that is a valid one, else empty, and all of its `tracestate`. */
  traceparent = '';
  tracestate = '';
  /** It asks why, should the answer be one of ours. */
  asksReason = false;
  /** The one protocol the connection is asked to change to, in lower case; empty: none. The field itself is not passed on. */
  upgrade = '';
  /** RFC 9110 section 6.5.1: trailers would not be lost on the client. */
  acceptsTrailers = false;
  /** Why it was refused, for the client. */
  problem = '';
  /** The field lines that are passed on, each with its CRLF, without Host and the framing. */
  fields = '';

  /** Nothing of a refused head is to be logged as if it had been understood. */
  reset(): void {
    this.method = '';
    this.target = '';
    this.path = '';
    this.minor = 1;
    this.scheme = null;
    this.host = '';
    this.authority = '';
    this.forwardedFor = '';
    this.forwardedProto = '';
    this.forwardedHost = '';
    this.bodyKind = 'none';
    this.contentLength = 0;
    this.keepAlive = true;
    this.expectContinue = false;
    this.userAgent = null;
    this.referer = null;
    this.requestId = '';
    this.traceparent = '';
    this.tracestate = '';
    this.asksReason = false;
    this.upgrade = '';
    this.acceptsTrailers = false;
    this.fields = '';
  }
}

/**
 * Parses a whole head, its empty line included, into `head`: `source` up to `end`. Returns 0, or the status to refuse it
 * with; after any refusal the connection cannot be used further (RFC 9112 section 2.2).
 */
export function parseRequestHead(
  source: string,
  head: RequestHead,
  limits: Pick<HeadLimits, 'maxHeaders' | 'maxRequestLine'>,
  end = source.length,
): number {
  head.reset();
  head.problem = '';
  const lineEnd = source.indexOf('\r\n');
  const status = parseRequestLine(source, lineEnd, head, limits.maxRequestLine);
  if (status !== 0) return status;
  return parseFields(source, lineEnd + 2, end, head, limits.maxHeaders);
}

export function refuse(head: RequestHead, status: number, problem: string): number {
  head.problem = problem;
  return status;
}

function parseRequestLine(source: string, end: number, head: RequestHead, maxLength: number): number {
  const methodEnd = source.indexOf(' ');
  const targetEnd = source.indexOf(' ', methodEnd + 1);
  if (methodEnd <= 0 || targetEnd < 0 || targetEnd > end) {
    // A line of two words would be HTTP/0.9.
    return refuse(head, 400, 'the request line is not "METHOD target HTTP/1.1"');
  }
  if (end > maxLength) return refuse(head, 414, 'the request line is too long');
  const versionAt = targetEnd + 1;
  if (!source.startsWith('HTTP/', versionAt) || end !== versionAt + 8 || source.charCodeAt(versionAt + 6) !== 0x2e) {
    return refuse(head, 400, 'the request line is not "METHOD target HTTP/1.1"');
  }
  const minor = source.charCodeAt(versionAt + 7) - 0x30;
  if (source.charCodeAt(versionAt + 5) !== 0x31 || (minor !== 0 && minor !== 1)) {
    return refuse(head, 505, 'the version is neither HTTP/1.0 nor HTTP/1.1');
  }
  head.minor = minor;
  const refused = setMethod(source.slice(0, methodEnd), head);
  return refused === 0 ? parseTarget(source, methodEnd + 1, targetEnd, head) : refused;
}

/** Methods are compared as they are: `get` is none (RFC 9110 section 9.1). */
export function setMethod(method: string, head: RequestHead): number {
  if (!KNOWN_METHODS.has(method)) {
    return /^[A-Z-]{1,32}$/.test(method)
      ? refuse(head, 501, 'the method is not known here')
      : refuse(head, 400, 'the method is invalid');
  }
  if (method === 'CONNECT' || method === 'TRACE') return refuse(head, 405, 'the method is not allowed');
  head.method = method;
  return 0;
}

/** A request target within `source`; absolute-form sets the authority too. */
export function parseTarget(source: string, start: number, end: number, head: RequestHead): number {
  let at = start;
  if (source.charCodeAt(at) !== 0x2f) {
    if (end === start + 1 && source.charCodeAt(start) === 0x2a && head.method === 'OPTIONS') {
      head.target = '*';
      head.path = '*';
      return 0;
    }
    const absolute = /^(https?):\/\/([^/?#]*)/i.exec(source.slice(start, end));
    if (absolute === null) return refuse(head, 400, 'the request target is not a path');
    head.scheme = absolute[1]?.length === 4 ? 'http' : 'https';
    const authority = absolute[2] ?? '';
    if (!setAuthority(head, authority)) return refuse(head, 400, 'the host of the request target is invalid');
    at += absolute[0].length;
  }
  let queryAt = end;
  let slashes = 0;
  let wantsNormalizing = false;
  for (let i = at; i < end; i++) {
    const code = source.charCodeAt(i);
    if (TARGET[code] === 1) {
      if (code === 0x3f) {
        queryAt = Math.min(queryAt, i);
      } else if (code === 0x2f) {
        slashes = i;
      } else if (code === 0x2e && slashes === i - 1 && queryAt === end) {
        wantsNormalizing = true;
      }
    } else if (code === 0x25) {
      // What is decoded nowhere may say what it likes: many sites have a bare % in a query.
      if (queryAt !== end) continue;
      const high = HEX[source.charCodeAt(i + 1)] ?? 0;
      const low = HEX[source.charCodeAt(i + 2)] ?? 0;
      if (high === 0 || low === 0 || i + 2 >= end) return refuse(head, 400, 'the path has an invalid % escape');
      if (high === 1 && low === 1) return refuse(head, 400, 'the path has a NUL');
      // %2e
      if (high === 3 && low === 15) wantsNormalizing = true;
    } else {
      return refuse(head, 400, 'the request target has an invalid byte');
    }
  }
  let path = source.slice(at, queryAt);
  // RFC 9112 sections 3.2.1 and 3.2.4: an absolute-form without a path asks for "/", or with OPTIONS for "*".
  if (path === '') path = head.method === 'OPTIONS' && queryAt === end ? '*' : '/';
  if (wantsNormalizing) path = normalizePath(path);
  head.path = path;
  head.target = queryAt === end ? path : path + source.slice(queryAt, end);
  return 0;
}

export function setAuthority(head: RequestHead, authority: string): boolean {
  const parsed = parseAuthority(authority);
  if (parsed === null) return false;
  head.host = parsed;
  head.authority = authority;
  return true;
}

function parseFields(source: string, at: number, end: number, head: RequestHead, maxFields: number): number {
  let hosts = 0;
  let lengths = 0;
  let codings = 0;
  let connection: string | null = null;
  let upgrade: string | null = null;
  fields.start(source, at, end, maxFields);
  lines.clear();
  while (fields.next()) {
    const { nameStart, nameEnd } = fields;
    const kind = FIELDS.find(source, nameStart, nameEnd);
    switch (kind) {
      case undefined:
        if (!fields.oddName && !isForwardedField(source, nameStart, nameEnd)) lines.add(fields);
        break;
      case 'user_agent':
        head.userAgent = fields.value;
        lines.add(fields);
        break;
      case 'referer':
        head.referer = fields.value;
        lines.add(fields);
        break;
      case 'host':
        // RFC 9112 section 3.2.2: an absolute-form's authority overrules the field, which must still be valid.
        if (++hosts > 1) return refuse(head, 400, 'there is more than one Host');
        if (head.scheme === null ? !setAuthority(head, fields.value) : parseAuthority(fields.value) === null) {
          return refuse(head, 400, 'Host is invalid');
        }
        break;
      case 'content_length':
        head.contentLength = parseContentLength(fields.value);
        if (++lengths > 1 || head.contentLength < 0 || fields.tabbed) {
          return refuse(head, 400, 'Content-Length is invalid');
        }
        head.bodyKind = 'length';
        break;
      case 'transfer_encoding': {
        const coding = fields.value.toLowerCase();
        if (++codings > 1 || head.minor === 0 || fields.tabbed) {
          return refuse(head, 400, 'Transfer-Encoding is invalid');
        }
        if (coding !== 'chunked') {
          return coding.includes('chunked')
            ? refuse(head, 400, 'Transfer-Encoding is invalid')
            : refuse(head, 501, 'the transfer coding is not known here');
        }
        break;
      }
      case 'connection':
        connection = connection === null ? fields.value : `${connection},${fields.value}`;
        break;
      case 'forwarded_for':
      case 'forwarded_proto':
      case 'forwarded_host':
      case 'request_id':
      case 'traceparent':
      case 'tracestate':
      case 'reason':
        note(head, kind, fields.value);
        break;
      case 'upgrade':
        upgrade = upgrade === null ? fields.value : `${upgrade},${fields.value}`;
        break;
      case 'expect':
        if (head.minor === 0) break;
        if (fields.value.toLowerCase() !== '100-continue')
          return refuse(head, 417, 'the expectation is not known here');
        head.expectContinue = true;
        break;
      case 'te':
        head.acceptsTrailers ||= takesTrailers(fields.value);
        break;
      case 'drop':
        break;
    }
  }
  if (fields.problem !== '') return refuse(head, fields.tooLarge ? 431 : 400, fields.problem);
  finishTrace(head);
  if (hosts === 0 && head.minor === 1) return refuse(head, 400, 'there is no Host');
  if (codings > 0) {
    // RFC 9112 section 6.1: the two together are how requests are smuggled.
    if (lengths > 0) return refuse(head, 400, 'there are both Content-Length and Transfer-Encoding');
    head.bodyKind = 'chunked';
  }
  head.fields = lines.finish(source);
  return applyConnection(source, { connection, upgrade }, head);
}

function applyConnection(
  source: string,
  values: { readonly connection: string | null; readonly upgrade: string | null },
  head: RequestHead,
): number {
  head.keepAlive = head.minor === 1;
  if (values.connection === null) return 0;
  const connection = parseConnection(values.connection);
  if (connection === null) return refuse(head, 400, 'Connection is invalid');
  head.keepAlive = !connection.close && (head.minor === 1 || connection.keepAlive);
  if (connection.nominated.length === 0) return 0;
  // RFC 9110 section 7.8 and RFC 6455 section 4.1: a GET of HTTP/1.1 without a body that says so in both fields.
  if (
    values.upgrade !== null &&
    connection.nominated.includes('upgrade') &&
    head.method === 'GET' &&
    head.minor === 1 &&
    head.bodyKind === 'none'
  ) {
    head.upgrade = values.upgrade.toLowerCase();
  }
  if (connection.nominated.every((name) => name === 'upgrade')) return 0;
  if (connection.nominated.some((name) => NEVER_NOMINATED.test(name))) {
    return refuse(head, 400, 'Connection names a field that must not be removed');
  }
  // RFC 9110 section 7.6.1. Rare, so it walks the lines again.
  const nominated = new Set(connection.nominated);
  fields.restart();
  lines.clear();
  while (fields.next()) {
    const kind = FIELDS.find(source, fields.nameStart, fields.nameEnd);
    if (kind !== undefined && !isPassed(kind)) continue;
    if (fields.oddName || isForwardedField(source, fields.nameStart, fields.nameEnd)) continue;
    if (!nominated.has(fields.name.toLowerCase())) lines.add(fields);
  }
  head.fields = lines.finish(source);
  return 0;
}

export type NotedKind = Extract<
  FieldKind,
  'forwarded_for' | 'forwarded_proto' | 'forwarded_host' | 'request_id' | 'traceparent' | 'tracestate' | 'reason'
>;

/** Kept aside: whether the client may say such things is for others to know. */
export function note(head: RequestHead, kind: NotedKind, value: string): void {
  switch (kind) {
    case 'forwarded_for':
      head.forwardedFor += head.forwardedFor === '' ? value : `,${value}`;
      break;
    case 'forwarded_proto':
      head.forwardedProto = value;
      break;
    case 'forwarded_host':
      head.forwardedHost = value;
      break;
    case 'request_id':
      head.requestId = value;
      break;
    case 'traceparent':
      // Two are no valid one.
      head.traceparent += head.traceparent === '' ? value : `,${value}`;
      break;
    case 'tracestate':
      head.tracestate += head.tracestate === '' ? value : `,${value}`;
      break;
    case 'reason':
      head.asksReason = true;
      break;
  }
}

/** When all fields were read. */
export function finishTrace(head: RequestHead): void {
  if (head.traceparent !== '' && !isTraceparent(head.traceparent)) head.traceparent = '';
}

/** Whether a field with a meaning here goes on to the worker as it came. */
export function isPassed(kind: FieldKind): boolean {
  return kind === 'user_agent' || kind === 'referer';
}

/** RFC 9110 section 10.1.4: whether a `TE` lists `trailers`. */
function takesTrailers(value: string): boolean {
  return /(?:^|,)[ \t]*trailers[ \t]*(?:,|$)/i.test(value);
}

/** Only what this proxy knows of the client may reach the worker under these names. */
export function isForwardedField(source: string, start: number, end: number): boolean {
  return end - start >= FORWARDED_PREFIX.length && matches(source, start, FORWARDED_PREFIX);
}
