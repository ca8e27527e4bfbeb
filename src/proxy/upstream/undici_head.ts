/** What undici read of an answer, as the head every answer becomes. */
import { FIELD_VALUE, TOKEN } from '../http1/chars.ts';
import { parseConnection, parseContentLength } from '../http1/fields.ts';
import type { ResponseHead } from '../http1/response_head.ts';

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** RFC 9110 section 7.6.1. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set(
  'connection keep-alive proxy-connection te trailer transfer-encoding upgrade'.split(' '),
);
/** RFC 9110 section 6.5.1: what must be known before the content is of no use behind it, or does harm. */
const NO_TRAILER =
  /^(?:content-(?:length|encoding|type|range)|host|authorization|set-cookie|cookie|cache-control|location|vary|age|date|expires)$/;

/** Fills `head`; returns what is wrong with it, or null. */
export function readForeignHead(
  head: ResponseHead,
  status: number,
  headers: Headers,
  requestMethod: string,
): string | null {
  const connection = parseConnection(String(headers['connection'] ?? ''));
  if (status > 599) return 'the status is invalid';
  if (connection === null) return 'Connection is invalid';
  head.status = status;
  head.reason = '';
  head.minor = 1;
  head.keepAlive = true;
  head.contentLength = 0;
  head.eventStream = String(headers['content-type'] ?? '').startsWith('text/event-stream');
  const nominated = new Set(connection.nominated);
  const fields = linesOf(
    headers,
    (name) => !OF_THE_CONNECTION.has(name) && !nominated.has(name) && name !== 'content-length',
  );
  if (fields === null) return 'a field has an invalid byte';
  head.fields = fields;
  const length = headers['content-length'];
  if (length !== undefined) {
    head.contentLength = typeof length === 'string' ? parseContentLength(length) : -1;
    if (head.contentLength < 0) return 'Content-Length is invalid';
  }
  if (status === 204) {
    head.bodyKind = 'none';
  } else if (requestMethod === 'HEAD' || status === 304) {
    head.bodyKind = 'none';
    if (length !== undefined) head.fields += `content-length: ${head.contentLength}\r\n`;
  } else {
    head.bodyKind = length === undefined ? 'chunked' : 'length';
  }
  return null;
}

/** Field lines of what may be said behind an answer; nothing that is not valid. */
export function readForeignTrailers(trailers: Headers): string {
  return linesOf(trailers, (name) => !OF_THE_CONNECTION.has(name) && !NO_TRAILER.test(name)) ?? '';
}

/** Null when a name or value could not stand in a head. */
function linesOf(headers: Headers, isWanted: (name: string) => boolean): string | null {
  let out = '';
  for (const [name, values] of Object.entries(headers)) {
    if (values === undefined || name.startsWith(':') || !isWanted(name)) continue;
    if (!consistsOf(name, TOKEN) || name === '') return null;
    for (const value of typeof values === 'string' ? [values] : values) {
      if (!consistsOf(value, FIELD_VALUE)) return null;
      out += `${name}: ${value.trim()}\r\n`;
    }
  }
  return out;
}

function consistsOf(text: string, table: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if ((table[text.charCodeAt(i)] ?? 0) === 0) return false;
  return true;
}
