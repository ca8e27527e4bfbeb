/** From a file to one frozen value, or to every problem it has. */
import { statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { buildEntrypoints, buildService, buildSite, checkAcme, checkSites, checkTrustedProxies } from './checks.ts';
import type { PlacedSite } from './checks.ts';
import type { Config } from './config.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import { problemsOf, unknownKey } from './issues.ts';
import { sections, serviceSchema, siteSchema, TOP_LEVEL_KEYS } from './schema.ts';
import type { Sections, ServiceInput, SiteInput } from './schema.ts';
import { isMapping, readIncluded, readSource, whole } from './sources.ts';
import type { Source } from './sources.ts';
import { escapeControls } from '../log.ts';

export type { Problem } from './document.ts';

type Env = Readonly<Record<string, string | undefined>>;

export type Loaded =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const SERVICE_NAME = /^[a-z][a-z0-9_-]{0,40}$/;
const DEFAULT_FILES = ['proxy.yaml', 'config/proxy.yaml', '/etc/proxy/proxy.yaml'];

/** `file:line:column path: what is wrong`. */
export function formatProblem({ file, line, column, path: where, message }: Problem): string {
  return escapeControls(`${formatPlace({ file, line, column })} ${where === '' ? '' : `${where}: `}${message}`);
}

function formatPlace({ file, line, column }: Pick<Problem, 'file' | 'line' | 'column'>): string {
  const near = path.relative(process.cwd(), file);
  const shown = near.startsWith('..') || near.length > file.length ? file : near;
  return `${shown}:${line}:${column}`;
}

/** The file to use: the option, else $PROXY_CONFIG, else the first of the usual places that exists. */
export function findConfigFile({
  option,
  env,
  cwd,
}: {
  readonly option: string | undefined;
  readonly env: Env;
  readonly cwd: string;
}): { readonly ok: true; readonly file: string } | { readonly ok: false; readonly problem: Problem } {
  const named = option ?? env['PROXY_CONFIG'];
  if (named !== undefined && named !== '') return { ok: true, file: path.resolve(cwd, named) };
  for (const candidate of DEFAULT_FILES) {
    const file = path.resolve(cwd, candidate);
    if (statSync(file, { throwIfNoEntry: false })?.isFile()) return { ok: true, file };
  }
  const message = `there is no configuration: looked for ${DEFAULT_FILES.join(', ')}; name one with --config`;
  return { ok: false, problem: whole(path.resolve(cwd, 'proxy.yaml'), message) };
}

/** Reads and checks a file and what it includes. Synchronous: it is small, and nothing else can be decided meanwhile. */
export function loadConfig({ file, env }: { readonly file: string; readonly env: Env }): Loaded {
  const main = readSource(file, env);
  if (!('document' in main)) return { ok: false, problems: main };
  const problems: Problem[] = [...main.document.problems];
  const warnings: Problem[] = [];
  const sources = [main, ...readIncluded(main, env, problems)];
  const config = build(sources, main, env, problems, warnings);
  if (config === null || problems.length > 0) {
    const order = new Map(sources.map((source, i) => [source.file, i]));
    const place = ({ file: name }: Problem): number => order.get(name) ?? sources.length;
    return {
      ok: false,
      problems: problems.toSorted((x, y) => place(x) - place(y) || x.line - y.line || x.column - y.column),
    };
  }
  return { ok: true, config: deepFreeze(config), warnings };
}

function build(
  sources: readonly Source[],
  main: Source,
  env: Env,
  problems: Problem[],
  warnings: Problem[],
): Config | null {
  const { document, value, base, file } = main;
  for (const key of Object.keys(value)) {
    if (!TOP_LEVEL_KEYS.includes(key)) problems.push(unknownKey(document, [key], TOP_LEVEL_KEYS));
  }
  const parsed = parseSections(document, value, problems);
  const services = parseServices(sources, problems);
  const sites = parseSites(sources, main, problems);
  const runtimeDirectory = path.resolve(base, parsed.runtime_directory ?? '/run/proxy');
  const entrypoints = buildEntrypoints(document, parsed.entrypoints ?? {}, problems);
  const trustedProxies = parsed.trusted_proxies ?? [];
  checkTrustedProxies(document, trustedProxies, entrypoints, problems);

  const placed = sites.flatMap(({ source, index, input }): PlacedSite[] => {
    const context = { base: source.base, services: [...services.keys()] };
    const site = buildSite(source.document, index, input, context, problems);
    return site === null ? [] : [{ document: source.document, index, site }];
  });
  checkSites(document, placed, entrypoints, problems);
  const siteConfigs = placed.map(({ site }) => site);
  const acme = checkAcme(document, parsed.acme, siteConfigs, base, problems);
  const cpus = Math.max(2, os.availableParallelism());
  const serviceConfigs = [...services].flatMap(([name, { source, input }]) => {
    if (input === null) return [];
    const context = { base: source.base, runtimeDirectory, cpus };
    return buildService(source.document, name, input, context, problems) ?? [];
  });
  for (const { name } of serviceConfigs) {
    const used = siteConfigs.some(({ routes }) => routes.some((route) => 'service' in route && route.service === name));
    const place = services.get(name)?.source.document;
    if (!used && place !== undefined) {
      warnings.push(place.problem(['services', name], 'no site uses this service', 'key'));
    }
  }
  if (problems.length > 0) return null;
  const { shutdown, admin, logging, storage } = parsed;
  return {
    file,
    files: sources.map((source) => source.file),
    user: parsed.user ?? null,
    group: parsed.group ?? null,
    runtimeDirectory,
    stateDirectory: path.resolve(base, storage?.root ?? env['STATE_DIRECTORY']?.split(':')[0] ?? '/var/lib/proxy'),
    entrypoints,
    trustedProxies,
    forwardedHeader: parsed.forwarded_header ?? false,
    proxyProcesses: parsed.proxy_processes === 'auto' ? cpus : (parsed.proxy_processes ?? cpus),
    acme,
    sites: siteConfigs,
    services: serviceConfigs,
    shutdown: { gracePeriodMs: shutdown?.grace_period ?? 25_000 },
    admin: { socket: path.resolve(base, admin?.socket ?? path.join(runtimeDirectory, 'admin.sock')) },
    logging: { level: logging?.level ?? 'info', format: logging?.format ?? 'auto', access: logging?.access ?? true },
  };
}

/** Every section that is valid; the others' problems are added, and theirs alone. */
function parseSections(
  document: SourceDocument,
  value: Readonly<Record<string, unknown>>,
  problems: Problem[],
): Partial<Sections> {
  const out: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(sections)) {
    // An empty `acme:` means what no `acme:` means.
    const result = schema.safeParse(value[name] ?? undefined, { reportInput: true });
    if (result.success) out[name] = result.data;
    else problems.push(...problemsOf(result.error.issues, [name], document, (inner) => keysAt(schema, inner)));
  }
  return out;
}

interface PlacedService {
  readonly source: Source;
  /** null: its own problems are told; it exists all the same. */
  readonly input: ServiceInput | null;
}

function parseServices(sources: readonly Source[], problems: Problem[]): Map<string, PlacedService> {
  const out = new Map<string, PlacedService>();
  for (const source of sources) {
    const { document } = source;
    const value = source.value['services'];
    if (value === undefined || value === null) continue;
    if (!isMapping(value)) {
      problems.push(document.problem(['services'], 'must be a mapping of names to services'));
      continue;
    }
    for (const [name, service] of Object.entries(value)) {
      const where: Path = ['services', name];
      const other = out.get(name);
      if (other !== undefined) {
        const place = formatPlace(other.source.document.problem(where, '', 'key'));
        problems.push(document.problem(where, `is the name of another service too, at ${place}`, 'key'));
        continue;
      }
      if (!SERVICE_NAME.test(name)) {
        problems.push(document.problem(where, 'a service name is a-z, 0-9, - and _, and begins with a letter', 'key'));
      }
      const result = serviceSchema.safeParse(service ?? {}, { reportInput: true });
      out.set(name, { source, input: result.success ? result.data : null });
      if (!result.success) {
        problems.push(...problemsOf(result.error.issues, where, document, (inner) => keysAt(serviceSchema, inner)));
      }
    }
  }
  return out;
}

/** Those that are valid, each with its place. */
function parseSites(
  sources: readonly Source[],
  main: Source,
  problems: Problem[],
): { readonly source: Source; readonly index: number; readonly input: SiteInput }[] {
  const named = sources.filter(({ value }) => value['sites'] !== undefined && value['sites'] !== null);
  if (named.length === 0) problems.push(main.document.problem(['sites'], 'there is no site: nothing would be served'));
  return named.flatMap((source) => {
    const { document } = source;
    const value = source.value['sites'];
    if (!Array.isArray(value) || value.length === 0) {
      problems.push(document.problem(['sites'], 'must be a list of sites'));
      return [];
    }
    return value.flatMap((site: unknown, index) => {
      const result = siteSchema.safeParse(site, { reportInput: true });
      if (result.success) return { source, index, input: result.data };
      const where: Path = ['sites', index];
      problems.push(...problemsOf(result.error.issues, where, document, (inner) => keysAt(siteSchema, inner)));
      return [];
    });
  });
}

/** The keys a schema knows at a path, whatever wraps it. */
function keysAt(schema: unknown, inner: Path): readonly string[] {
  let at = unwrap(schema);
  for (const part of inner) {
    if (at instanceof z.ZodObject) at = unwrap(at.shape[String(part)]);
    else if (at instanceof z.ZodArray) at = unwrap(at.element);
    else if (at instanceof z.ZodRecord) at = unwrap(at.valueType);
    else return [];
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.unwrap());
  }
  if (schema instanceof z.ZodUnion) return unwrap(schema.options.find((option) => option instanceof z.ZodObject));
  return schema;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
