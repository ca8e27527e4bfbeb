/** Several documents as one: the main file's keys, and the sites and services of all. */
import path from 'node:path';
import type { Path, Problem, SourceDocument } from './document.ts';
import { unknownKey } from './issues.ts';
import { TOP_LEVEL_KEYS } from './schema.ts';

export interface MergedDocument extends SourceDocument {
  /** What relative paths at a place are relative to: the folder of the file it stands in. */
  folderOf(path: Path): string;
}

const INCLUDED_KEYS = ['sites', 'services'];

/** A path in the whole leads to the file it came from: `sites[7]` may be `sites[0]` of another file, and is reported so. */
export function mergeDocuments(main: SourceDocument, included: readonly SourceDocument[]): MergedDocument {
  const problems: Problem[] = [];
  const sites: { readonly document: SourceDocument; readonly index: number; readonly site: unknown }[] = [];
  const owners = new Map<string, SourceDocument>();
  const services: Record<string, unknown> = {};

  for (const document of [main, ...included]) {
    const value = asMapping(document.value);
    if (document !== main) problems.push(...shapeProblems(document));
    const ownSites = value?.['sites'];
    if (Array.isArray(ownSites)) {
      ownSites.forEach((site: unknown, index) => sites.push({ document, index, site }));
    }
    for (const [name, service] of Object.entries(asMapping(value?.['services']) ?? {})) {
      const owner = owners.get(name);
      if (owner === undefined) {
        owners.set(name, document);
        services[name] = service;
      } else {
        const { line, column } = owner.problem(['services', name], '', 'key');
        const message = `is defined in ${owner.file}:${line}:${column} too`;
        problems.push(document.problem(['services', name], message, 'key'));
      }
    }
  }

  const origin = (at: Path): { readonly document: SourceDocument; readonly path: Path } => {
    const [section, part, ...rest] = at;
    if (section === 'sites' && typeof part === 'number') {
      const site = sites[part];
      if (site !== undefined) return { document: site.document, path: ['sites', site.index, ...rest] };
    }
    if (section === 'services') return { document: owners.get(String(part)) ?? main, path: at };
    return { document: main, path: at };
  };

  const value = asMapping(main.value);
  return {
    file: main.file,
    value:
      value === null
        ? main.value
        : {
            ...value,
            // What is no list or mapping in the main file is told as it stands.
            ...(sites.length > 0 &&
              isAbsentOr(value['sites'], Array.isArray) && { sites: sites.map(({ site }) => site) }),
            ...(owners.size > 0 && isAbsentOr(value['services'], (v) => asMapping(v) !== null) && { services }),
          },
    problems,
    problem: (at, message, where) => {
      const { document, path: own } = origin(at);
      return document.problem(own, message, where);
    },
    asWritten: (at) => {
      const { document, path: own } = origin(at);
      return document.asWritten(own);
    },
    template: (at) => {
      const { document, path: own } = origin(at);
      return document.template(own);
    },
    folderOf: (at) => path.dirname(origin(at).document.file),
  };
}

function shapeProblems(document: SourceDocument): Problem[] {
  const value = asMapping(document.value);
  if (value === null) return [document.problem([], 'must be a mapping of "sites" and "services"')];
  const problems = Object.keys(value).flatMap((key) => {
    if (INCLUDED_KEYS.includes(key)) return [];
    if (key === 'include') return document.problem([key], 'an included file includes no others', 'key');
    if (TOP_LEVEL_KEYS.includes(key)) {
      return document.problem([key], 'belongs in the main file: an included one has "sites" and "services"', 'key');
    }
    return unknownKey(document, [key], INCLUDED_KEYS);
  });
  if (!isAbsentOr(value['sites'], Array.isArray)) problems.push(document.problem(['sites'], 'must be a list of sites'));
  if (!isAbsentOr(value['services'], (services) => asMapping(services) !== null)) {
    problems.push(document.problem(['services'], 'must be a mapping of names to services'));
  }
  return problems;
}

function isAbsentOr(value: unknown, is: (value: unknown) => boolean): boolean {
  return value === undefined || value === null || is(value);
}

function asMapping(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null;
}
