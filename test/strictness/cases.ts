/** How payloads are written: each table is one rule, each case the bytes of one client and what must become of them. */

/**
 * forwarded: every request a strict reader finds reaches the upstream, whatever follows them. A number: the first so
 * many do. Statuses: nothing is forwarded, and the one answer has one of them.
 */
export type Outcome = 'forwarded' | number | readonly number[];

export interface Case {
  readonly name: string;
  readonly bytes: string;
  readonly outcome: Outcome;
}

export interface Table {
  /** Its number in the checklist of what a strict proxy refuses. */
  readonly rule: number;
  readonly source: string;
  readonly title: string;
  readonly cases: readonly Case[];
}

export const REFUSED = [400] as const;

/** What an attacker hopes to have taken for a request of its own. */
export const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
/** No upstream may ever see it. */
export const FORGED = 'forged-by-client';

export interface RequestParts {
  readonly method?: string;
  readonly target?: string;
  readonly version?: string;
  /** Without it, `Host: a`. */
  readonly host?: string;
  /** Field lines, each with its line ending. */
  readonly fields?: string;
  readonly body?: string;
}

export function request({
  method = 'POST',
  target = '/t',
  version = 'HTTP/1.1',
  host = 'Host: a\r\n',
  fields = '',
  body = '',
}: RequestParts): string {
  return `${method} ${target} ${version}\r\n${host}${fields}\r\n${body}`;
}

export function length(body: string): string {
  return `Content-Length: ${body.length}\r\n`;
}

export const CHUNKED = 'Transfer-Encoding: chunked\r\n';

export function chunked(...pieces: readonly string[]): string {
  return `${pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('')}0\r\n\r\n`;
}

/** Every control byte but tab, DEL, and everything beyond ASCII. */
export const ODD_BYTES: readonly number[] = Array.from({ length: 256 }, (_, code) => code).filter(
  (code) => (code < 0x20 && code !== 0x09) || code >= 0x7f,
);

/** One case for each odd byte. */
export function sweep(
  name: string,
  write: (byte: string) => string,
  outcome: Outcome | ((code: number) => Outcome) = REFUSED,
): Case[] {
  return ODD_BYTES.map((code) => ({
    name: `byte 0x${code.toString(16).padStart(2, '0')} ${name}`,
    bytes: write(String.fromCharCode(code)),
    outcome: typeof outcome === 'function' ? outcome(code) : outcome,
  }));
}

/** One case for each odd byte in the place of one of a line's two last bytes. */
export function sweepLineEnd(where: string, write: (lineEnd: string) => string): Case[] {
  return [
    ...sweep(
      `for the CR ${where}`,
      (byte) => write(`${byte}\n`),
      (code) => (code === 0x0d ? 'forwarded' : REFUSED),
    ),
    ...sweep(
      `for the LF ${where}`,
      (byte) => write(`\r${byte}`),
      (code) => (code === 0x0a ? 'forwarded' : REFUSED),
    ),
  ];
}

/** One case for each value; lists of them may be grouped. */
export function each(
  values: readonly (string | readonly string[])[],
  write: (value: string) => string,
  outcome: Outcome,
): Case[] {
  return values.flat().map((value) => ({ name: JSON.stringify(value), bytes: write(value), outcome }));
}

/** All ways to write a word in upper and lower case, up to the sixth letter. */
export function casings(word: string): string[] {
  const letters = Math.min(word.length, 6);
  return Array.from({ length: 2 ** letters }, (_, mask) =>
    [...word].map((letter, i) => (i < letters && mask & (1 << i) ? letter.toUpperCase() : letter)).join(''),
  );
}

export function isText(code: number): boolean {
  return code >= 0x80;
}
