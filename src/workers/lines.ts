/** What a worker writes, line by line: bounded, whatever it writes and however it is cut. */
import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';

const MAX_LINE = 8 * 1024;

/** Calls `onLine` for each line, without its end; longer lines come in pieces, each marked. Empty lines are left out. */
export function readLines(stream: Readable, onLine: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const take = (text: string): void => {
    rest += text;
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) emit(line.endsWith('\r') ? line.slice(0, -1) : line);
    while (rest.length > MAX_LINE) {
      onLine(`${rest.slice(0, MAX_LINE)}…`);
      rest = rest.slice(MAX_LINE);
    }
  };
  const emit = (line: string): void => {
    if (line === '') return;
    for (let at = 0; at < line.length; at += MAX_LINE) {
      const more = at + MAX_LINE < line.length;
      onLine(line.slice(at, at + MAX_LINE) + (more ? '…' : ''));
    }
  };
  stream.on('data', (chunk: Buffer) => take(decoder.write(chunk)));
  stream.on('error', () => {});
  stream.on('end', () => {
    take(decoder.end());
    emit(rest);
    rest = '';
  });
}
