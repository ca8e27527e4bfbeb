/** What undici read of an answer, as the head every answer becomes. */
import { parseConnection, parseContentLength } from '../http1/fields.ts';
import type { ResponseHead } from '../http1/response_head.ts';
import { fieldLine, mayBeTrailer } from '../trailers.ts';

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** RFC 9110 section 7.6.1. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set(
  'connection keep-alive proxy-connection te trailer transfer-encoding upgrade'.split(' '),
);

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
  head.trailers = 'none';
  head.namesRequest = headers['x-request-id'] !== undefined;
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
    if (length === undefined) head.trailers = headers['trailer'] === undefined ? 'possible' : 'announced';
  }
  return null;
}

/** Field lines of what may be said behind an answer; nothing that is not valid. */
export function readForeignTrailers(trailers: Headers): string {
  return linesOf(trailers, mayBeTrailer) ?? '';
}

/** Null when a name or value could not stand in a head. */
function linesOf(headers: Headers, isWanted: (name: string) => boolean): string | null {
  let out = '';
  for (const [name, values] of Object.entries(headers)) {
    if (values === undefined || name.startsWith(':') || !isWanted(name)) continue;
    for (const value of typeof values === 'string' ? [values] : values) {
      const line = fieldLine(name, value);
      if (line === null) return null;
      out += line;
    }
  }
  return out;
}
