/** A YAML file as a plain value, and where in the file each part of it stands. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import type { Document, Node } from 'yaml';

export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** `services.web.workers`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

export type Path = readonly (string | number)[];

export interface SourceDocument {
  /** Absolute path. */
  readonly file: string;
  readonly value: unknown;
  /** Syntax errors, unknown variables, too many aliases. */
  readonly problems: readonly Problem[];
  problem(path: Path, message: string, at?: 'key' | 'value'): Problem;
  /** `; it is "…"` for a scalar, as it is written: what a variable holds may be a secret. */
  asWritten(path: Path): string;
  /** A value that a `${NAME}` is part of, as it stands in the file: what it becomes may be a secret. null: any other. */
  template(path: Path): string | null;
}

interface Place {
  readonly key: number | null;
  readonly value: number;
  readonly written: string | null;
}

const MAX_ALIASES = 100;

export function formatPath(path: Path): string {
  let out = '';
  for (const part of path) {
    if (typeof part === 'number') out += `[${part}]`;
    else out += (out === '' ? '' : '.') + part;
  }
  return out;
}

/** Reads `text`; `${NAME}` in values is taken from `env`, `$${` is a literal `${`. */
export function readDocument(
  file: string,
  text: string,
  env: Readonly<Record<string, string | undefined>>,
): SourceDocument {
  const counter = new LineCounter();
  const document: Document = parseDocument(text, { lineCounter: counter, prettyErrors: false, uniqueKeys: true });
  const places = new Map<string, Place>();
  const templates = new Map<string, string>();
  const problems: Problem[] = [];
  let aliases = 0;

  const at = (offset: number, path: Path, message: string): Problem => {
    const { line, col } = counter.linePos(offset);
    return { file, line, column: col, path: formatPath(path), message };
  };

  const read = (node: unknown, path: Path, key: number | null): unknown => {
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (++aliases > MAX_ALIASES || target === undefined) {
        problems.push(at(node.range?.[0] ?? 0, path, 'has too many or unknown aliases'));
        return undefined;
      }
      return read(target, path, key);
    }
    const value = startOf(node);
    if (isMap(node)) {
      places.set(id(path), { key, value, written: null });
      const out: Record<string, unknown> = {};
      for (const pair of node.items) {
        const name = isScalar(pair.key) ? String(pair.key.value) : '?';
        const keyAt = startOf(pair.key);
        // Nothing of ours is called so, and assigning it would not make a key.
        if (name === '__proto__') problems.push(at(keyAt, [...path, name], 'is not a known key'));
        else out[name] = read(pair.value, [...path, name], keyAt);
      }
      return out;
    }
    if (isSeq(node)) {
      places.set(id(path), { key, value, written: null });
      return node.items.map((item, index) => read(item, [...path, index], null));
    }
    if (!isScalar(node)) {
      places.set(id(path), { key, value: key ?? value, written: null });
      return null;
    }
    const written = node.source ?? String(node.value);
    places.set(id(path), { key, value, written });
    if (typeof node.value !== 'string' || !node.value.includes('$')) return node.value;
    if (node.value.replaceAll('$${', '').includes('${')) templates.set(id(path), node.value);
    return substitute(node.value, node.type === 'PLAIN', (name) => {
      problems.push(at(value, path, `the environment has no variable ${name}`));
    });
  };

  const substitute = (template: string, plain: boolean, missing: (name: string) => void): unknown => {
    const out = template.replace(/\$\$\{|\$\{([^}]*)\}/g, (_whole, name: string | undefined) => {
      if (name === undefined) return '${';
      const found = env[name];
      if (found === undefined) missing(name);
      return found ?? '';
    });
    // `workers: ${N}` is to be the number that it would be if it stood there.
    if (plain && out !== template) {
      if (/^(?:0|[1-9]\d{0,14})$/.test(out)) return Number(out);
      if (out === 'true' || out === 'false') return out === 'true';
    }
    return out;
  };

  for (const error of [...document.errors, ...document.warnings]) {
    problems.push(at(error.pos[0], [], error.message.replace(/\s+/g, ' ')));
  }
  const value = read(document.contents, [], null) ?? {};

  return {
    file,
    value,
    problems,
    problem: (path, message, where = 'value') => {
      for (let end = path.length; end >= 0; end--) {
        const place = places.get(id(path.slice(0, end)));
        if (place === undefined) continue;
        // What is missing is reported at what it is missing from.
        const offset = end < path.length || where === 'key' ? (place.key ?? place.value) : place.value;
        return at(offset, path, message);
      }
      return at(0, path, message);
    },
    asWritten: (path) => {
      const written = places.get(id(path))?.written ?? '';
      return written === '' ? '' : `; it is ${JSON.stringify(written)}`;
    },
    template: (path) => templates.get(id(path)) ?? null,
  };
}

function startOf(node: unknown): number {
  const range = (node as Node | null)?.range;
  return range?.[0] ?? 0;
}

function id(path: Path): string {
  return JSON.stringify(path);
}
