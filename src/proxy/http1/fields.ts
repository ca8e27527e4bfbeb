/** Reading the field lines of a head, requests' and responses' alike: RFC 9112 section 5, with nothing tolerated. */
import { FIELD_VALUE, TOKEN } from './chars.ts';

/** Longer lines are refused: real ones (cookies, tokens, CSP) stay below. */
export const MAX_LINE = 8 * 1024;

const SPACE = 0x20;
const TAB = 0x09;

/** Walks over the lines; after `next()` the fields say where its name and value are. */
export class FieldScanner {
  source = '';
  nameStart = 0;
  nameEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  /** Just past the line's CRLF. */
  lineEnd = 0;
  count = 0;
  /** The name has a `_` or `.`, which some servers turn into `-`. */
  oddName = false;
  problem = '';
  #begin = 0;
  #end = 0;
  #maxCount = 0;
  /** The head is well formed, but larger than we take. */
  tooLarge = false;

  /** `at` is where the first field line begins, `end` where the head ends, just past its empty line. */
  start(source: string, at: number, end: number, maxCount: number): void {
    this.source = source;
    this.#begin = at;
    this.#end = end;
    this.#maxCount = maxCount;
    this.restart();
  }

  /** Goes back to the first line. */
  restart(): void {
    this.lineEnd = this.#begin;
    this.count = 0;
    this.problem = '';
    this.tooLarge = false;
  }

  /** Returns false at the empty line, or when a line is not valid (`problem` says why). */
  next(): boolean {
    const { source } = this;
    const start = this.lineEnd;
    let at = start;
    let odd = 0;
    for (;;) {
      const kind = TOKEN[source.charCodeAt(at)];
      if (kind === undefined || kind === 0) break;
      odd |= kind;
      at++;
    }
    if (source.charCodeAt(at) !== 0x3a || at === start) {
      // The empty line is the only one without a colon; it is the head's end by construction.
      if (at === start && at === this.#end - 2 && source.startsWith('\r\n', at)) return false;
      return this.#fail('a field line has no valid name');
    }
    this.nameStart = start;
    this.nameEnd = at;
    this.oddName = odd > 1;
    at++;
    let code = source.charCodeAt(at);
    while (code === SPACE || code === TAB) code = source.charCodeAt(++at);
    this.valueStart = at;
    while (FIELD_VALUE[code] === 1) code = source.charCodeAt(++at);
    if (code !== 0x0d || source.charCodeAt(at + 1) !== 0x0a) return this.#fail('a field value has an invalid byte');
    this.lineEnd = at + 2;
    let end = at;
    while (end > this.valueStart && isBlank(source.charCodeAt(end - 1))) end--;
    this.valueEnd = end;
    if (at - start > MAX_LINE) {
      this.tooLarge = true;
      return this.#fail('a field line is too long');
    }
    if (++this.count > this.#maxCount) {
      this.tooLarge = true;
      return this.#fail('too many field lines');
    }
    return true;
  }

  get name(): string {
    return this.source.slice(this.nameStart, this.nameEnd);
  }

  get value(): string {
    return this.source.slice(this.valueStart, this.valueEnd);
  }

  /** A tab is in the line: RFC 9110 section 5.5 allows it around a value, but llhttp does not take it after `chunked`. */
  get tabbed(): boolean {
    return this.source.slice(this.nameEnd, this.lineEnd).includes('\t');
  }

  #fail(problem: string): false {
    this.problem = problem;
    return false;
  }
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** Names that mean something, found by length first: most field lines are only passed on. */
export class FieldTable<Kind> {
  readonly #byLength: { readonly name: string; readonly kind: Kind }[][] = [];

  constructor(kinds: Readonly<Record<string, Kind>>) {
    for (const [name, kind] of Object.entries(kinds)) (this.#byLength[name.length] ??= []).push({ name, kind });
  }

  /** `undefined` for a name that is not in the table; case does not matter. */
  find(source: string, start: number, end: number): Kind | undefined {
    const candidates = this.#byLength[end - start];
    if (candidates === undefined) return undefined;
    for (const { name, kind } of candidates) {
      if (matches(source, start, name)) return kind;
    }
    return undefined;
  }
}

/** Whether `source` has at `start` the lower-case name, whatever its case there. Only for what is a token. */
export function matches(source: string, start: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    if ((source.charCodeAt(start + i) | 0x20) !== name.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * The field lines that are passed on. Lines in the form we write ourselves are copied as runs; any other is written
 * anew, so that no odd whitespace gets through.
 */
export class ForwardedLines {
  #text = '';
  #runStart = -1;
  #runEnd = -1;

  clear(): void {
    this.#text = '';
    this.#runStart = -1;
  }

  add(fields: FieldScanner): void {
    const { source, nameEnd, valueStart, valueEnd, lineEnd } = fields;
    const asWeWrite =
      valueStart === nameEnd + 2 && valueEnd === lineEnd - 2 && source.charCodeAt(nameEnd + 1) === SPACE;
    if (!asWeWrite) {
      this.#endRun(source);
      this.#text += `${fields.name}: ${fields.value}\r\n`;
    } else if (this.#runStart >= 0 && this.#runEnd === fields.nameStart) {
      this.#runEnd = lineEnd;
    } else {
      this.#endRun(source);
      this.#runStart = fields.nameStart;
      this.#runEnd = lineEnd;
    }
  }

  finish(source: string): string {
    this.#endRun(source);
    return this.#text;
  }

  #endRun(source: string): void {
    if (this.#runStart >= 0) this.#text += source.slice(this.#runStart, this.#runEnd);
    this.#runStart = -1;
  }
}

/** A `Content-Length` value as a number; -1 when it is not plain digits or beyond what a number holds exactly. */
export function parseContentLength(value: string): number {
  if (value.length === 0 || value.length > 16) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return Number.isSafeInteger(length) ? length : -1;
}

// What is said nearly always needs no reading.
const CLOSE = { close: true, keepAlive: false, nominated: [] } as const;
const KEEP_ALIVE = { close: false, keepAlive: true, nominated: [] } as const;

/** What `Connection` says: whether to close or keep, and the names it nominates. Null when it is no list of tokens. */
export function parseConnection(value: string): {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly nominated: readonly string[];
} | null {
  if (value === 'keep-alive' || value === 'close') {
    return value === 'close' ? CLOSE : KEEP_ALIVE;
  }
  let close = false;
  let keepAlive = false;
  const nominated: string[] = [];
  for (const part of value.split(',')) {
    // Not `trim`: it would take a no-break space, byte 0xa0, for blank.
    const option = part.replace(/^[ \t]+|[ \t]+$/g, '').toLowerCase();
    if (option === '') continue;
    if (!isToken(option)) return null;
    if (option === 'close') close = true;
    else if (option === 'keep-alive') keepAlive = true;
    else nominated.push(option);
  }
  return { close, keepAlive, nominated };
}

function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if ((TOKEN[text.charCodeAt(i)] ?? 0) === 0) return false;
  }
  return true;
}
