/** The files a configuration is made of: the one that is named, and those it includes for more sites and services. */
import { globSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { readDocument } from './document.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import { unknownKey } from './issues.ts';

export interface Source {
  readonly file: string;
  /** Its folder, which relative paths in it begin at. */
  readonly base: string;
  readonly document: SourceDocument;
  readonly value: Readonly<Record<string, unknown>>;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Of one file, and of all that are included. */
const MAX_FILE = 1024 * 1024;
const MAX_FILES = 10_000;
const MAX_TOTAL = 64 * 1024 * 1024;

const INCLUDED_KEYS = ['sites', 'services'];

/** The source, or the problems that leave nothing to look at. */
export function readSource(file: string, env: Env): Source | readonly Problem[] {
  let text: string;
  try {
    if (statSync(file).size > MAX_FILE) return [whole(file, 'is larger than 1 MiB')];
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    return [whole(file, `the file ${reason}`)];
  }
  const document = readDocument(file, text, env);
  // What a broken document says beyond its syntax error would only mislead.
  if (document.problems.some(({ path: where }) => where === '')) return document.problems;
  const { value } = document;
  if (!isMapping(value)) return [...document.problems, document.problem([], 'must be a mapping of keys')];
  return { file, base: path.dirname(file), document, value };
}

/** What `include` of the main file names, in the order of the patterns and of the names, each file once. */
export function readIncluded(main: Source, env: Env, problems: Problem[]): Source[] {
  const patterns = main.value['include'];
  if (patterns === undefined || patterns === null) return [];
  const list: readonly unknown[] = Array.isArray(patterns) ? patterns : [patterns];
  const sources: Source[] = [];
  const seen = new Set([main.file]);
  let total = 0;
  for (const [i, pattern] of list.entries()) {
    const at: Path = Array.isArray(patterns) ? ['include', i] : ['include'];
    const tell = (message: string): void => void problems.push(main.document.problem(at, message));
    if (typeof pattern !== 'string' || pattern === '') {
      tell('must be a path such as sites.d/*.yaml, or a list of them');
      continue;
    }
    for (const file of filesOf(pattern, main.base)) {
      if (seen.has(file)) continue;
      seen.add(file);
      const source = readSource(file, env);
      if ('document' in source) {
        total += statSync(file, { throwIfNoEntry: false })?.size ?? 0;
        problems.push(...source.document.problems, ...strangers(source));
        sources.push(source);
      } else {
        problems.push(...source);
        // That it is missing is the including file's mistake.
        if (!pattern.includes('*')) tell(`there is a problem with ${file}`);
      }
      if (seen.size > MAX_FILES || total > MAX_TOTAL) {
        tell('names more than 10,000 files or 64 MiB');
        return sources;
      }
    }
  }
  return sources;
}

function filesOf(pattern: string, base: string): readonly string[] {
  if (!pattern.includes('*')) return [path.resolve(base, pattern)];
  return globSync(pattern, { cwd: base })
    .map((name) => path.resolve(base, name))
    .toSorted();
}

function strangers({ document, value }: Source): Problem[] {
  return Object.keys(value).flatMap((key) => {
    if (INCLUDED_KEYS.includes(key)) return [];
    if (key === 'include') return document.problem([key], 'an included file includes no further ones', 'key');
    return unknownKey(document, [key], INCLUDED_KEYS);
  });
}

export function whole(file: string, message: string): Problem {
  return { file, line: 1, column: 1, path: '', message };
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
