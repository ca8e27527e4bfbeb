/** What an operator wants said where no worker answers: files read when the configuration is, so that all is there when it is needed. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ErrorPages } from './config.ts';
import type { Path } from './document.ts';

/** Every proxy holds them in memory, and sends them when there is trouble already. */
const MAX_PAGE = 64 * 1024;
const STATUS = /^[45](?:\d\d|xx)$/;

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.json': 'application/json',
};

/** `at`: where `pages` stands. */
export function buildErrorPages(
  pages: Readonly<Record<string, string>>,
  base: string,
  at: Path,
  tell: (at: Path, message: string, part?: 'key' | 'value') => void,
): ErrorPages {
  const out: Record<string, ErrorPages[string]> = {};
  for (const [status, name] of Object.entries(pages)) {
    const where = [...at, status];
    if (!STATUS.test(status)) {
      tell(where, 'is not a status such as 503, 4xx or 5xx', 'key');
      continue;
    }
    const read = readPage(path.resolve(base, name));
    if ('problem' in read) tell(where, `${name} ${read.problem}`);
    else
      out[status] = { type: TYPES[path.extname(name).toLowerCase()] ?? 'text/plain; charset=utf-8', body: read.body };
  }
  return out;
}

function readPage(file: string): { readonly body: string } | { readonly problem: string } {
  try {
    const stats = statSync(file);
    if (!stats.isFile()) return { problem: 'is not a file' };
    if (stats.size > MAX_PAGE) return { problem: `is larger than ${MAX_PAGE / 1024} KiB` };
    return { body: new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file)) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return { problem: 'is not UTF-8' };
    return { problem: code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})` };
  }
}
