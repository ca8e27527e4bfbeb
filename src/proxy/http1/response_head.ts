/** A worker's response head, parsed as strictly as a client's: a broken worker costs its own client, nobody else. */
import { FIELD_VALUE } from './chars.ts';
import { FieldScanner, FieldTable, ForwardedLines, parseConnection, parseContentLength } from './fields.ts';

type FieldKind =
  | 'content_type'
  | 'content_length'
  | 'transfer_encoding'
  | 'connection'
  | 'keep_alive'
  | 'trailer'
  | 'request_id'
  | 'drop';

/** RFC 9110 section 7.6.1. */
const FIELDS = new FieldTable<FieldKind>({
  'content-type': 'content_type',
  'content-length': 'content_length',
  'transfer-encoding': 'transfer_encoding',
  connection: 'connection',
  'keep-alive': 'keep_alive',
  'proxy-connection': 'drop',
  te: 'drop',
  trailer: 'trailer',
  upgrade: 'drop',
  'x-request-id': 'request_id',
});

const MAX_FIELDS = 100;

const fields = new FieldScanner();
const lines = new ForwardedLines();

export class ResponseHead {
  status = 0;
  reason = '';
  minor: 0 | 1 = 1;
  /** close: the body ends with the connection. */
  bodyKind: 'none' | 'length' | 'chunked' | 'close' = 'none';
  contentLength = 0;
  keepAlive = true;
  /** What it says of how long that is; empty: nothing. */
  keepAliveFor = '';
  /** `text/event-stream`: it may be silent for long. */
  eventStream = false;
  /** Among its fields is an `X-Request-Id` of the worker's own. */
  namesRequest = false;
  /** Whether field lines follow the body: none can, some may, or so it says. */
  trailers: 'none' | 'possible' | 'announced' = 'none';
  /** The field lines that are passed on, without the framing; of a response without a body, its length too. */
  fields = '';
}

/** Parses a whole head, its empty line included, into `head`: `source` up to `end`. Returns 0, or what is wrong with it. */
export function parseResponseHead(
  source: string,
  head: ResponseHead,
  requestMethod: string,
  end = source.length,
): 0 | string {
  const lineEnd = source.indexOf('\r\n');
  const minor = source.charCodeAt(7) - 0x30;
  const status = parseStatus(source);
  if (!source.startsWith('HTTP/1.') || (minor !== 0 && minor !== 1) || status < 100 || lineEnd < 12) {
    return 'the status line is invalid';
  }
  // RFC 9112 section 4: the space before an absent reason is often forgotten.
  if (lineEnd > 12 && source.charCodeAt(12) !== 0x20) return 'the status line is invalid';
  for (let i = 13; i < lineEnd; i++) {
    if (FIELD_VALUE[source.charCodeAt(i)] !== 1) return 'the status line is invalid';
  }
  if (status === 101) return 'it switches protocols unasked';
  head.status = status;
  head.reason = source.slice(13, lineEnd);
  head.minor = minor;
  return parseFields(source, lineEnd + 2, end, head, requestMethod);
}

/** -1 unless three digits within 100–599, between a space and a space or the line's end. */
function parseStatus(source: string): number {
  if (source.charCodeAt(8) !== 0x20) return -1;
  let status = 0;
  for (let i = 9; i < 12; i++) {
    const digit = source.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    status = status * 10 + digit;
  }
  return status <= 599 ? status : -1;
}

function parseFields(source: string, at: number, end: number, head: ResponseHead, requestMethod: string): 0 | string {
  let lengths = 0;
  let codings = 0;
  let connection: string | null = null;
  let announced = false;
  head.eventStream = false;
  head.keepAliveFor = '';
  head.namesRequest = false;
  fields.start(source, at, end, MAX_FIELDS);
  lines.clear();
  while (fields.next()) {
    switch (FIELDS.find(source, fields.nameStart, fields.nameEnd)) {
      case undefined:
        lines.add(fields);
        break;
      case 'content_type':
        head.eventStream = fields.value.startsWith('text/event-stream');
        lines.add(fields);
        break;
      case 'request_id':
        head.namesRequest = true;
        lines.add(fields);
        break;
      case 'content_length':
        head.contentLength = parseContentLength(fields.value);
        if (++lengths > 1 || head.contentLength < 0 || fields.tabbed) return 'Content-Length is invalid';
        break;
      case 'transfer_encoding':
        if (++codings > 1 || head.minor === 0 || fields.tabbed || fields.value.toLowerCase() !== 'chunked') {
          return 'Transfer-Encoding is invalid';
        }
        break;
      case 'connection':
        connection = connection === null ? fields.value : `${connection},${fields.value}`;
        break;
      case 'keep_alive':
        head.keepAliveFor = fields.value;
        break;
      case 'trailer':
        announced = true;
        break;
      case 'drop':
        break;
    }
  }
  if (fields.problem !== '') return fields.problem;
  if (lengths > 0 && codings > 0) return 'there are both Content-Length and Transfer-Encoding';
  let forwarded = lines.finish(source);

  head.keepAlive = head.minor === 1;
  if (connection !== null) {
    const options = parseConnection(connection);
    if (options === null) return 'Connection is invalid';
    head.keepAlive = !options.close && (head.minor === 1 || options.keepAlive);
    if (options.nominated.length > 0) forwarded = withoutNominated(source, new Set(options.nominated));
  }

  const { status } = head;
  if (status < 200 || status === 204) {
    head.bodyKind = 'none';
  } else if (requestMethod === 'HEAD' || status === 304) {
    // RFC 9110 section 8.6: here a length says what a GET would have had.
    head.bodyKind = 'none';
    if (lengths > 0) forwarded += `Content-Length: ${head.contentLength}\r\n`;
  } else if (codings > 0) {
    head.bodyKind = 'chunked';
  } else {
    head.bodyKind = lengths > 0 ? 'length' : 'close';
  }
  head.trailers = head.bodyKind !== 'chunked' ? 'none' : announced ? 'announced' : 'possible';
  head.fields = forwarded;
  return 0;
}

function withoutNominated(source: string, nominated: ReadonlySet<string>): string {
  fields.restart();
  lines.clear();
  while (fields.next()) {
    const kind = FIELDS.find(source, fields.nameStart, fields.nameEnd);
    const known = kind !== undefined && kind !== 'content_type' && kind !== 'request_id';
    if (!known && !nominated.has(fields.name.toLowerCase())) lines.add(fields);
  }
  return lines.finish(source);
}
