/** Which files `include` names, and their documents: bounded, so that a wrong pattern cannot read a whole disk. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { readDocument } from './document.ts';
import type { Path, Problem, SourceDocument } from './document.ts';

export const MAX_FILE = 1024 * 1024;
const LIMITS = { files: 10_000, bytes: 64 * 1024 * 1024 };

export interface Included {
  /** In the order of the patterns, those of one pattern by name. */
  readonly documents: readonly SourceDocument[];
  readonly problems: readonly Problem[];
}

/** Reads what `include` of `main` names. What is not text there is for the schema to tell. */
export function readIncluded(
  main: SourceDocument,
  env: Readonly<Record<string, string | undefined>>,
  limits: { readonly files: number; readonly bytes: number } = LIMITS,
): Included {
  const documents: SourceDocument[] = [];
  const problems: Problem[] = [];
  const seen = new Set([identity(statSync(main.file, { bigint: true, throwIfNoEntry: false }))]);
  let bytes = 0;

  for (const [pattern, at] of patternsOf(main.value)) {
    const tell = (message: string): void => void problems.push(main.problem(at, message));
    if (pattern.split('/').includes('**')) {
      tell('"**" is not supported: write one "*" for each folder');
      continue;
    }
    const found = matches(path.resolve(path.dirname(main.file), pattern), tell);
    if (found.length > limits.files) {
      tell(`names more than ${limits.files} files`);
      continue;
    }
    for (const file of found) {
      const read = readBounded(file, seen);
      if (read === 'seen') continue;
      if ('problem' in read) {
        tell(`${file} ${read.problem}`);
        continue;
      }
      bytes += read.size;
      if (documents.length >= limits.files || bytes > limits.bytes) {
        tell(`with ${file} it is more than ${limits.files} files or ${limits.bytes / 1024 / 1024} MiB`);
        return { documents, problems };
      }
      documents.push(readDocument(file, read.text, env));
    }
  }
  return { documents, problems };
}

function patternsOf(value: unknown): (readonly [pattern: string, at: Path])[] {
  const include = typeof value === 'object' && value !== null && 'include' in value ? value.include : null;
  const list: readonly unknown[] = Array.isArray(include) ? include : [include];
  return list.flatMap((pattern, i) =>
    typeof pattern === 'string' && pattern !== ''
      ? [[pattern, Array.isArray(include) ? ['include', i] : ['include']]]
      : [],
  );
}

/** The files an absolute pattern stands for, sorted by name; without a `*`, the pattern itself, whether it is there or not. */
function matches(pattern: string, tell: (message: string) => void): readonly string[] {
  let found = ['/'];
  for (const part of pattern.split('/').filter((name) => name !== '')) {
    if (!part.includes('*')) {
      found = found.map((folder) => path.join(folder, part));
      continue;
    }
    const expression = new RegExp(`^${part.split('*').map(RegExp.escape).join('.*')}$`, 's');
    found = found.flatMap((folder) => {
      const names = namesIn(folder, tell).filter(
        // As in a shell: what is hidden is an editor's or a volume's own.
        (name) => expression.test(name) && (!name.startsWith('.') || part.startsWith('.')),
      );
      return names.map((name) => path.join(folder, name));
    });
  }
  return found.toSorted();
}

function namesIn(folder: string, tell: (message: string) => void): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    const code = codeOf(error);
    // A folder not made yet, or a file beside the folders a `*` stands for.
    if (code !== 'ENOENT' && code !== 'ENOTDIR') tell(`${folder} cannot be read (${code})`);
    return [];
  }
}

function readBounded(
  file: string,
  seen: Set<string>,
): 'seen' | { readonly text: string; readonly size: number } | { readonly problem: string } {
  let fd: number | null = null;
  try {
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(fd, { bigint: true });
    if (!stats.isFile()) return { problem: 'is not a file' };
    const id = identity(stats);
    if (seen.has(id)) return 'seen';
    seen.add(id);
    if (stats.size > MAX_FILE) return { problem: 'is larger than 1 MiB' };
    return { text: readFileSync(fd, 'utf8'), size: Number(stats.size) };
  } catch (error) {
    const code = codeOf(error);
    return { problem: code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})` };
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

/** Of the file itself: links to it are the same file. */
function identity(stats: { readonly dev: bigint; readonly ino: bigint } | undefined): string {
  return stats === undefined ? '' : `${stats.dev}:${stats.ino}`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
