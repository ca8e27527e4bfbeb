/**
 * A second, strict reader of HTTP/1.1 requests (RFC 9112), to judge what a proxy let through. It shares nothing with the
 * proxy's own codec and is written for being read beside the grammar, not for speed. Bytes are latin1 characters.
 */

export type Field = readonly [name: string, value: string];

export interface Message {
  readonly method: string;
  readonly target: string;
  readonly minor: 0 | 1;
  /** Names as they were written. */
  readonly fields: readonly Field[];
  readonly framing: 'none' | 'length' | 'chunked';
  readonly body: string;
  /** Chunk extensions or trailers came with the body. */
  readonly decorated: boolean;
  /** All its bytes. */
  readonly raw: string;
}

export type Reading =
  | { readonly kind: 'message'; readonly message: Message }
  /** Nothing so far says that it is no message. */
  | { readonly kind: 'incomplete' }
  /** INVALID: not RFC 9112. AMBIG: two readers may see two things (RFC 9112 sections 6.1 and 6.3, RFC 9110 section 8.6). */
  | { readonly kind: 'problem'; readonly problem: 'INVALID' | 'AMBIG'; readonly why: string };

const TCHAR = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
const TEXT = '[\\t\\x20-\\x7e\\x80-\\xff]';
const REQUEST_LINE = new RegExp(`^(${TCHAR}+) ([\\x21-\\x7e]+) HTTP/1\\.([01])$`);
const FIELD_LINE = new RegExp(`^(${TCHAR}+):[ \\t]*(${TEXT}*?)[ \\t]*$`);
const QUOTED = `"(?:[\\t\\x20\\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\${TEXT})*"`;
const CHUNK_LINE = new RegExp(`^([0-9A-Fa-f]+)((?:;${TCHAR}+(?:=(?:${TCHAR}+|${QUOTED}))?)*)$`);
/** RFC 3986, and `^{|}` and the backtick, which browsers send in queries and paths. */
const TARGET = /^[!$&'()*+,\-./:;=?@[\]_~^{|}`%0-9A-Za-z]+$/;
/** Empty when the client named none (RFC 9112 section 3.2). */
const URI_HOST = /^(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/;

class Problem extends Error {
  readonly problem: 'INVALID' | 'AMBIG';

  constructor(problem: 'INVALID' | 'AMBIG', why: string) {
    super(why);
    this.problem = problem;
  }
}

class Incomplete extends Error {}

/** Reads the message that begins at `at`. */
export function readMessage(text: string, at = 0): Reading {
  try {
    return { kind: 'message', message: read(text, at) };
  } catch (error) {
    if (error instanceof Incomplete) return { kind: 'incomplete' };
    if (error instanceof Problem) return { kind: 'problem', problem: error.problem, why: error.message };
    throw error;
  }
}

export interface Sent {
  readonly messages: readonly Message[];
  /** What follows them. ended: the last message says that none does. */
  readonly rest: 'nothing' | 'incomplete' | 'problem' | 'ended';
}

/** All messages in what a client sent on one connection. */
export function readAll(text: string): Sent {
  const messages: Message[] = [];
  let at = 0;
  for (;;) {
    // RFC 9112 section 2.2: an empty line before a request line is ignored; more than two nobody sends.
    for (let lines = 0; lines < 2 && text.startsWith('\r\n', at); lines++) at += 2;
    if (at === text.length) return { messages, rest: 'nothing' };
    const reading = readMessage(text, at);
    if (reading.kind !== 'message') return { messages, rest: reading.kind };
    messages.push(reading.message);
    at += reading.message.raw.length;
    if (!persists(reading.message)) return { messages, rest: 'ended' };
  }
}

export function valuesOf(message: Message, name: string): readonly string[] {
  return message.fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** The members of a field that is a list, lower case. */
export function listOf(message: Message, name: string): readonly string[] {
  return valuesOf(message, name)
    .flatMap((value) => value.split(','))
    .map((member) => member.trim().toLowerCase())
    .filter((member) => member !== '');
}

/** RFC 9112 section 9.3. */
function persists(message: Message): boolean {
  const options = listOf(message, 'connection');
  if (options.includes('close')) return false;
  return message.minor === 1 || options.includes('keep-alive');
}

function read(text: string, at: number): Message {
  const headEnd = text.indexOf('\r\n\r\n', at);
  if (headEnd < 0) throw new Incomplete();
  const [requestLine = '', ...fieldLines] = text.slice(at, headEnd).split('\r\n');
  const start = REQUEST_LINE.exec(requestLine);
  if (start === null) throw new Problem('INVALID', 'the request line');
  const [, method = '', target = '', minorDigit] = start;
  const minor = minorDigit === '0' ? 0 : 1;
  checkTarget(method, target);
  const fields = fieldLines.map((line): Field => {
    const field = FIELD_LINE.exec(line);
    if (field === null) throw new Problem('INVALID', `the field line ${JSON.stringify(line)}`);
    return [field[1] ?? '', field[2] ?? ''];
  });
  checkHost(fields, minor);
  const bodyAt = headEnd + 4;
  const { framing, length } = framingOf(fields, minor);
  const body = framing === 'chunked' ? readChunks(text, bodyAt) : readLength(text, bodyAt, length);
  const { content, decorated, end } = body;
  return { method, target, minor, fields, framing, body: content, decorated, raw: text.slice(at, end) };
}

/** RFC 9112 section 3.2, without the authority-form: nobody here is a tunnel. */
function checkTarget(method: string, target: string): void {
  if (target === '*' && method === 'OPTIONS') return;
  const bad = !TARGET.test(target) || !/^(?:\/|https?:\/\/[^/?@]+(?:[/?]|$))/i.test(target);
  const path = target.split('?')[0] ?? '';
  if (bad || /%(?![0-9A-Fa-f]{2})/.test(path)) throw new Problem('INVALID', `the target ${JSON.stringify(target)}`);
}

/** RFC 9112 section 3.2. */
function checkHost(fields: readonly Field[], minor: 0 | 1): void {
  const hosts = fields.filter(([name]) => name.toLowerCase() === 'host');
  if (hosts.length > 1) throw new Problem('AMBIG', 'several Host');
  const host = hosts[0]?.[1];
  if (host === undefined ? minor === 1 : !URI_HOST.test(host)) throw new Problem('INVALID', `Host ${String(host)}`);
}

/** RFC 9112 section 6.3. */
function framingOf(fields: readonly Field[], minor: 0 | 1): Pick<Message, 'framing'> & { readonly length: number } {
  const values = (wanted: string): string[] =>
    fields.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value);
  const lengths = values('content-length');
  const codings = values('transfer-encoding');
  if (lengths.length > 1) throw new Problem('AMBIG', 'several Content-Length');
  if (codings.length > 1) throw new Problem('AMBIG', 'several Transfer-Encoding');
  if (lengths.length > 0 && codings.length > 0) throw new Problem('AMBIG', 'both framings');
  const [coding] = codings;
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') throw new Problem('AMBIG', `Transfer-Encoding ${JSON.stringify(coding)}`);
    if (minor === 0) throw new Problem('AMBIG', 'Transfer-Encoding in HTTP/1.0');
    return { framing: 'chunked', length: 0 };
  }
  const [length] = lengths;
  if (length === undefined) return { framing: 'none', length: 0 };
  if (!/^\d{1,16}$/.test(length)) throw new Problem('INVALID', `Content-Length ${JSON.stringify(length)}`);
  return { framing: 'length', length: Number(length) };
}

interface Body {
  readonly content: string;
  readonly decorated: boolean;
  readonly end: number;
}

function readLength(text: string, at: number, length: number): Body {
  if (text.length < at + length) throw new Incomplete();
  return { content: text.slice(at, at + length), decorated: false, end: at + length };
}

/** RFC 9112 section 7.1. */
function readChunks(text: string, start: number): Body {
  let content = '';
  let decorated = false;
  let at = start;
  const line = (): string => {
    const end = text.indexOf('\r\n', at);
    if (end < 0) throw new Incomplete();
    const found = text.slice(at, end);
    at = end + 2;
    return found;
  };
  for (;;) {
    const size = CHUNK_LINE.exec(line());
    if (size === null || (size[1] ?? '').length > 14) throw new Problem('INVALID', 'a chunk size');
    if (size[2] !== '') decorated = true;
    const length = Number.parseInt(size[1] ?? '', 16);
    if (length === 0) break;
    if (text.length < at + length + 2) throw new Incomplete();
    content += text.slice(at, at + length);
    at += length;
    if (!text.startsWith('\r\n', at)) throw new Problem('INVALID', 'the end of a chunk');
    at += 2;
  }
  for (let trailer = line(); trailer !== ''; trailer = line()) {
    if (!FIELD_LINE.test(trailer)) throw new Problem('INVALID', 'a trailer');
    decorated = true;
  }
  return { content, decorated, end: at };
}
