/** What verbs print: answers to stdout, complaints to stderr, in one place. */
import { stripVTControlCharacters } from 'node:util';
import { describeError, escapeControls } from '../log.ts';

export function print(text: string): void {
  process.stdout.write(`${clean(text)}\n`);
}

export function complain(text: string): void {
  process.stderr.write(`${clean(text)}\n`);
}

export function complainAbout(error: unknown): void {
  complain(`proxy: ${describeError(error)}`);
}

/** Certificates, files and CAs name things: nothing they say may move a cursor. */
function clean(text: string): string {
  return text.split('\n').map(escapeControls).join('\n');
}

/** Text that is clean already, but for our own colours. */
export function show(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Whether colours are welcome there (https://no-color.org). */
export function likesColour(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  return stream.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
}

/** Columns as wide as their widest cell, colours not counted. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, width(cell))));
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - width(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function width(cell: string): number {
  return stripVTControlCharacters(cell).length;
}

/** `3h 5m`, `12s`: the two largest units. */
export function formatAge(ms: number): string {
  let seconds = Math.max(0, Math.floor(ms / 1000));
  const parts: string[] = [];
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    if (seconds >= size || (unit === 's' && parts.length === 0)) {
      parts.push(`${Math.floor(seconds / size)}${unit}`);
      seconds %= size;
    }
  }
  return parts.slice(0, 2).join(' ');
}
