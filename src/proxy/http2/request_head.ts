/**
 * An HTTP/2 request's fields as the head every protocol's requests become, checked as strictly as HTTP/1.1's own: they are
 * written into an HTTP/1.1 head towards a worker (RFC 9113 sections 8.2, 8.3 and 10.3).
 */
import { FIELD_VALUE, TOKEN } from '../http1/chars.ts';
import { MAX_LINE, parseContentLength } from '../http1/fields.ts';
import {
  FIELDS,
  finishTrace,
  isForwardedField,
  isPassed,
  note,
  parseTarget,
  refuse,
  setAuthority,
  setMethod,
} from '../http1/request_head.ts';
import type { FieldKind, HeadLimits, RequestHead } from '../http1/request_head.ts';
import { createStaticFields } from './hpack.ts';
import type { HpackField } from './hpack.ts';
import { MAX_TRAILERS, mayBeTrailer } from '../trailers.ts';

/** What a field costs a table beyond its name and value (RFC 7541 section 4.1 says 32; a line of ours has 4). */
const LINE_OVERHEAD = 4;
/** Of one head; a browser may have 180 cookies for a site. */
const MAX_COOKIES = 200;

const PSEUDO_BITS: Readonly<Record<string, number>> & { readonly ':scheme': number } = {
  ':method': 1,
  ':scheme': 2,
  ':authority': 4,
  ':path': 8,
};

/** RFC 9113 section 8.2.2: what says them is malformed. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set(
  'connection keep-alive proxy-connection transfer-encoding upgrade'.split(' '),
);

/** A field by itself, understood once for as long as the client refers to it. */
export interface RequestField extends HpackField {
  readonly kind: FieldKind | 'pseudo' | 'cookie' | 'other';
  /** What makes a request with it malformed. */
  readonly fault: string | null;
  /** The line that is passed on; empty: none is. */
  readonly line: string;
}

export function createRequestField(name: string, value: string): RequestField {
  if (!isFieldValue(value)) return { name, value, kind: 'other', fault: 'a field value has an invalid byte', line: '' };
  if (name.charCodeAt(0) === 0x3a) return { name, value, kind: 'pseudo', fault: null, line: '' };
  const validity = nameKind(name);
  if (validity === 0) return { name, value, kind: 'other', fault: 'a field has no valid name', line: '' };
  if (OF_THE_CONNECTION.has(name)) return { name, value, kind: 'other', fault: 'a field of the connection', line: '' };
  const kind = name === 'cookie' ? 'cookie' : (FIELDS.find(name, 0, name.length) ?? 'other');
  const passes = kind === 'other' ? validity === 1 : kind !== 'cookie' && isPassed(kind);
  const line = passes && !isForwardedField(name, 0, name.length) ? `${name}: ${value}\r\n` : '';
  return { name, value, kind, fault: null, line };
}

export const STATIC_FIELDS = createStaticFields(createRequestField);

/**
 * Reads a request's fields into `head`, whose `contentLength` becomes -1 when none is said. `endOfStream`: no body follows.
 * Returns 0, or the status to refuse the request with.
 */
export function parseHttp2Head(
  received: readonly RequestField[],
  endOfStream: boolean,
  head: RequestHead,
  limits: HeadLimits,
): number {
  head.reset();
  head.problem = '';
  const { maxHeaderSize, maxHeaders, maxRequestLine } = limits;
  let size = 0;
  let count = 0;
  let cookieCount = 0;
  let host: string | null = null;
  let path: string | null = null;
  let cookies = '';
  let fields = '';
  let pseudos = 0;
  let regular = false;
  for (const { name, value, kind, fault, line } of received) {
    size += name.length + value.length + LINE_OVERHEAD;
    if (size > maxHeaderSize) return refuse(head, 431, 'the request head is too large');
    if (fault !== null) return refuse(head, 400, fault);
    if (kind === 'pseudo') {
      // RFC 9113 section 8.3: each once, and before all others.
      const bit = PSEUDO_BITS[name] ?? 0;
      if (regular || (pseudos & bit) !== 0) return refuse(head, 400, 'a pseudo-header field is out of place');
      pseudos |= bit;
      const refused = readPseudo(name, value, head);
      if (refused !== 0) return refused;
      if (name === ':path') path = value;
      continue;
    }
    regular = true;
    // Browsers send each cookie as a field of its own (RFC 9113 section 8.2.3), by the hundred on some sites.
    if (kind === 'cookie') {
      if (++cookieCount > MAX_COOKIES) return refuse(head, 431, 'too many cookies');
      cookies += cookies === '' ? value : `; ${value}`;
      continue;
    }
    if (++count > maxHeaders) return refuse(head, 431, 'too many fields');
    if (value.length > MAX_LINE) return refuse(head, 431, 'a field is too long');
    fields += line;
    switch (kind) {
      case 'other':
        break;
      case 'user_agent':
        head.userAgent = value;
        break;
      case 'referer':
        head.referer = value;
        break;
      case 'host':
        if (host !== null) return refuse(head, 400, 'there is more than one Host');
        host = value;
        break;
      case 'content_length':
        if (head.bodyKind === 'length') return refuse(head, 400, 'Content-Length is invalid');
        head.contentLength = parseContentLength(value);
        if (head.contentLength < 0) return refuse(head, 400, 'Content-Length is invalid');
        head.bodyKind = 'length';
        break;
      case 'expect':
        if (value.toLowerCase() !== '100-continue') return refuse(head, 417, 'the expectation is not known here');
        head.expectContinue = !endOfStream;
        break;
      case 'forwarded_for':
      case 'forwarded_proto':
      case 'forwarded_host':
      case 'request_id':
      case 'traceparent':
      case 'tracestate':
      case 'reason':
        note(head, kind, value);
        break;
      case 'te':
        if (value.toLowerCase() !== 'trailers') return refuse(head, 400, 'TE may only be "trailers" in HTTP/2');
        head.acceptsTrailers = true;
        break;
      case 'drop':
        break;
    }
  }
  if (cookies !== '') fields += `cookie: ${cookies}\r\n`;
  head.fields = fields;
  finishTrace(head);
  // RFC 9113 section 8.3.1.
  if ((pseudos & PSEUDO_BITS[':scheme']) === 0) return refuse(head, 400, 'a pseudo-header field is missing');
  return finish(head, path, host, endOfStream, maxRequestLine);
}

/** Reads the fields behind a body: the lines that are passed on, or null when they are not valid. */
export function parseHttp2Trailers(received: readonly RequestField[]): string | null {
  let size = 0;
  let lines = '';
  for (const { name, value, kind, fault, line } of received) {
    size += name.length + value.length + LINE_OVERHEAD;
    if (size > MAX_TRAILERS || fault !== null) return null;
    switch (kind) {
      // RFC 9113 section 8.1: no pseudo-header field.
      case 'pseudo':
      // They would say too late how the message was to be read (RFC 9110 section 6.5.1), or nothing here (RFC 9113 section 8.2.2).
      case 'host':
      case 'content_length':
      case 'te':
        return null;
      default:
        if (mayBeTrailer(name)) lines += line;
    }
  }
  return lines;
}

function readPseudo(name: string, value: string, head: RequestHead): number {
  switch (name) {
    case ':method':
      return setMethod(value, head);
    case ':scheme':
      // Here is TLS: another scheme would make the worker believe what is not so.
      return value === 'https' ? 0 : refuse(head, 400, ':scheme is not https');
    case ':authority':
      return setAuthority(head, value) ? 0 : refuse(head, 400, ':authority is invalid');
    case ':path':
      return 0;
    default:
      return refuse(head, 400, 'a pseudo-header field is not known here');
  }
}

function finish(
  head: RequestHead,
  path: string | null,
  host: string | null,
  endOfStream: boolean,
  maxPath: number,
): number {
  if (head.method === '' || path === null) return refuse(head, 400, 'a pseudo-header field is missing');
  if (host !== null) {
    // RFC 9113 section 8.3.1: they must not differ, and it is :authority that counts.
    const named = head.authority;
    const same = named === '' ? setAuthority(head, host) : named.toLowerCase() === host.toLowerCase();
    if (!same) return refuse(head, 400, 'Host is not :authority');
  }
  if (head.authority === '') return refuse(head, 400, 'there is no :authority');
  // RFC 9113 section 8.1.1.
  if (endOfStream && head.contentLength > 0) return refuse(head, 400, 'Content-Length is not that of the body');
  if (path.length > maxPath) return refuse(head, 414, 'the request target is too long');
  // Absolute-form has no place in :path, and would set another authority.
  if (path.charCodeAt(0) !== 0x2f && path !== '*') return refuse(head, 400, ':path is not a path');
  const refused = parseTarget(path, 0, path.length, head);
  if (refused !== 0) return refused;
  // With a length of 0 the worker would have it all before the stream has ended, and proved not to be malformed.
  if (head.bodyKind === 'none') head.contentLength = -1;
  if (!endOfStream && head.contentLength <= 0) head.bodyKind = 'chunked';
  return 0;
}

/** 0: no name in HTTP/2, where upper case is none; 1: a name; 2: one that some servers read in two ways. */
function nameKind(name: string): 0 | 1 | 2 {
  let odd = false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    const kind = TOKEN[code] ?? 0;
    if (kind === 0 || (code >= 0x41 && code <= 0x5a)) return 0;
    if (kind === 2) odd = true;
  }
  if (name.length === 0) return 0;
  return odd ? 2 : 1;
}

function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (FIELD_VALUE[value.charCodeAt(i)] !== 1) return false;
  // RFC 9113 section 8.2.1: no blank at either end.
  return value === '' || (!isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(value.length - 1)));
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
