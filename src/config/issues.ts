/** What the schema found, in words. */
import type { z } from 'zod';
import type { Path, Problem, SourceDocument } from './document.ts';
import { nearest } from './nearest.ts';

type Issue = z.core.$ZodIssue;

/** Problems of one section, whose place in the file is `base`. `keysAt` names the keys known at a path within it. */
export function problemsOf(
  issues: readonly Issue[],
  base: Path,
  document: SourceDocument,
  knownKeys: (path: Path) => readonly string[],
): Problem[] {
  return issues.flatMap((issue): Problem[] => {
    const path: Path = [...base, ...issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey(document, [...path, key], knownKeys(issue.path as Path)));
    }
    if (issue.code === 'invalid_union') {
      // Of the alternatives, the one the writer was at: the branch whose problem lies deepest, or is ours.
      const branch = issue.errors.find((errors) =>
        errors.some(({ path: inner, code }) => inner.length > 0 || code === 'unrecognized_keys' || code === 'custom'),
      );
      if (branch !== undefined)
        return problemsOf(branch as readonly Issue[], path, document, (inner) =>
          knownKeys([...(issue.path as Path), ...inner]),
        );
      return [document.problem(path, `must be ${alternatives(issue.errors)}${document.asWritten(path)}`)];
    }
    return [document.problem(path, describe(issue) + document.asWritten(path))];
  });
}

export function unknownKey(document: SourceDocument, path: Path, known: readonly string[]): Problem {
  const key = String(path.at(-1));
  const near = nearest(key, known);
  const hint = near === null ? `; known here: ${known.join(', ')}` : `; did you mean "${near}"?`;
  return document.problem(path, `is not a known key${hint}`, 'key');
}

function describe(issue: Issue): string {
  switch (issue.code) {
    case 'custom':
      return issue.message;
    case 'invalid_type':
      return issue.input === undefined ? 'is missing' : `must be ${noun(issue.expected)}`;
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.join(', ')}`;
    case 'too_small':
      if (issue.origin !== 'number') return 'must not be empty';
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}`;
    case 'invalid_format':
      return issue.format === 'starts_with' ? 'must begin with "/"' : 'is not valid';
    default:
      return issue.message;
  }
}

function alternatives(branches: readonly (readonly Issue[])[]): string {
  const words = branches.flatMap(([first]) =>
    first === undefined ? [] : [describe(first).replace(/^must be (?:one of )?/, '')],
  );
  return [...new Set(words)].join(' or ');
}

function noun(type: string): string {
  const words: Readonly<Record<string, string>> = {
    string: 'text',
    int: 'a whole number',
    number: 'a number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a mapping of keys',
    record: 'a mapping of keys',
  };
  return words[type] ?? type;
}
