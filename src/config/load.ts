/** From a file to one frozen value, or to every problem it has. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { checkAcme } from './acme.ts';
import { buildEntrypoints, buildSite, checkSites, checkTrustedProxies } from './checks.ts';
import type { Config, SiteConfig } from './config.ts';
import { readDocument } from './document.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import { buildErrorPages } from './error_pages.ts';
import { MAX_FILE, readIncluded } from './include.ts';
import { problemsOf, unknownKey } from './issues.ts';
import { SERVICE_NAME } from './json_schema.ts';
import { mergeDocuments } from './merge.ts';
import type { MergedDocument } from './merge.ts';
import { buildMetrics } from './metrics.ts';
import { buildService } from './services.ts';
import { sections, serviceSchema, siteSchema, TOP_LEVEL_KEYS } from './schema.ts';
import type { Sections, ServiceInput, SiteInput } from './schema.ts';
import { escapeControls } from '../log.ts';
import { cpuLimit } from '../machine.ts';

export type { Problem } from './document.ts';

type Env = Readonly<Record<string, string | undefined>>;

export type Loaded =
  | {
      readonly ok: true;
      readonly config: Config;
      /** As it was written, for those who show it. */
      readonly document: MergedDocument;
      readonly warnings: readonly Problem[];
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const DEFAULT_FILES = ['proxy.yaml', 'config/proxy.yaml', '/etc/proxy/proxy.yaml'];

/** `file:line:column path: what is wrong`. */
export function formatProblem({ file, line, column, path: where, message }: Problem): string {
  const near = path.relative(process.cwd(), file);
  const shown = near.startsWith('..') || near.length > file.length ? file : near;
  return escapeControls(`${shown}:${line}:${column} ${where === '' ? '' : `${where}: `}${message}`);
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

/** Reads and checks a file and those it includes. Synchronous: nothing else can be decided meanwhile. */
export function loadConfig({ file, env }: { readonly file: string; readonly env: Env }): Loaded {
  let text: string;
  try {
    if (statSync(file).size > MAX_FILE) return { ok: false, problems: [whole(file, 'is larger than 1 MiB')] };
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    return { ok: false, problems: [whole(file, `the file ${reason}`)] };
  }
  return parseConfig({ file, text, env });
}

/** The same of a text, as if it stood in a file. */
export function parseConfig({
  file,
  text,
  env,
}: {
  readonly file: string;
  readonly text: string;
  readonly env: Env;
}): Loaded {
  const main = readDocument(file, text, env);
  // What a broken document says beyond its syntax error would only mislead, and so does the lack of what it defines.
  if (isBroken(main)) return { ok: false, problems: main.problems };
  const included = readIncluded(main, env);
  const documents = [main, ...included.documents];
  const files = documents.map((document) => document.file);
  const problems = [...documents.flatMap((document) => document.problems), ...included.problems];
  if (included.problems.length > 0 || documents.some(isBroken))
    return { ok: false, problems: inOrder(problems, files) };
  const merged = mergeDocuments(main, included.documents);
  problems.push(...merged.problems);
  const warnings: Problem[] = [];
  const config = build(merged, files, env, problems, warnings);
  if (config === null || problems.length > 0) return { ok: false, problems: inOrder(problems, files) };
  return { ok: true, config: deepFreeze(config), document: merged, warnings };
}

/** The admin socket a file names, whatever else is wrong with it: an operator must reach the daemon that runs. */
export function findAdminSocket({ file, env }: { readonly file: string; readonly env: Env }): string {
  let text = '';
  try {
    if (statSync(file).size <= MAX_FILE) text = readFileSync(file, 'utf8');
  } catch {
    // As one that says nothing.
  }
  const { value } = readDocument(file, text, env);
  const raw = isMapping(value) ? value : {};
  const parse = <T>(schema: z.ZodType<T>, key: string): T | undefined =>
    schema.safeParse(raw[key] ?? undefined).data ?? schema.safeParse(undefined).data;
  return adminSocket(
    path.dirname(file),
    parse(sections.admin, 'admin'),
    parse(sections.runtime_directory, 'runtime_directory'),
  );
}

function adminSocket(base: string, admin?: Sections['admin'], runtimeDirectory = '/run/proxy'): string {
  return path.resolve(base, admin?.socket ?? path.join(runtimeDirectory, 'admin.sock'));
}

function isBroken({ problems }: SourceDocument): boolean {
  return problems.some(({ path: where }) => where === '');
}

function inOrder(problems: readonly Problem[], files: readonly string[]): Problem[] {
  const order = new Map(files.map((file, index) => [file, index]));
  const index = ({ file }: Problem): number => order.get(file) ?? 0;
  return problems.toSorted((a, b) => index(a) - index(b) || a.line - b.line || a.column - b.column);
}

function build(
  document: MergedDocument,
  files: readonly string[],
  env: Env,
  problems: Problem[],
  warnings: Problem[],
): Config | null {
  const { file, value } = document;
  if (!isMapping(value)) {
    problems.push(document.problem([], 'must be a mapping of keys'));
    return null;
  }
  for (const key of Object.keys(value)) {
    if (!TOP_LEVEL_KEYS.includes(key)) problems.push(unknownKey(document, [key], TOP_LEVEL_KEYS));
  }
  const base = path.dirname(file);
  const parsed = parseSections(document, value, problems);
  const services = parseServices(document, value['services'], problems);
  const sites = parseSites(document, value['sites'], problems);
  const runtimeDirectory = path.resolve(base, parsed.runtime_directory ?? '/run/proxy');
  const entrypoints = buildEntrypoints(document, parsed.entrypoints ?? {}, problems);

  const trustedProxies = parsed.trusted_proxies ?? [];
  checkTrustedProxies(document, trustedProxies, entrypoints, problems);

  const serviceNames = [...services.keys()];
  const sitesByIndex = new Map<number, SiteConfig>();
  for (const [index, site] of sites) {
    const context = { base: document.folderOf(['sites', index]), services: serviceNames };
    const built = buildSite(document, index, site, context, problems);
    if (built !== null) sitesByIndex.set(index, built);
  }
  checkSites(document, sitesByIndex, entrypoints, problems);
  const siteConfigs = [...sitesByIndex.values()];
  const errorPages = buildErrorPages(parsed.errors?.pages ?? {}, base, ['errors', 'pages'], (at, message, part) =>
    problems.push(document.problem(at, message, part)),
  );
  const metrics = buildMetrics(document, parsed.metrics ?? 'off', entrypoints, base, problems);
  const acme = checkAcme(document, parsed.acme, sitesByIndex, entrypoints, base, problems);
  const cpus = Math.max(2, cpuLimit());
  const serviceConfigs = [...services].flatMap(([name, service]) =>
    service === null
      ? []
      : (buildService(
          document,
          name,
          service,
          { base: document.folderOf(['services', name]), runtimeDirectory, cpus },
          problems,
        ) ?? []),
  );
  const used = new Set(
    siteConfigs.flatMap(({ routes }) => routes.flatMap((route) => ('service' in route ? route.service : []))),
  );
  for (const { name } of serviceConfigs) {
    if (!used.has(name)) warnings.push(document.problem(['services', name], 'no site uses this service', 'key'));
  }
  if (problems.length > 0) return null;
  const { shutdown, admin, logging, tracing, storage } = parsed;
  return {
    file,
    files,
    user: parsed.user ?? null,
    group: parsed.group ?? null,
    runtimeDirectory,
    allowEphemeral: storage?.allow_ephemeral ?? false,
    stateDirectory: path.resolve(base, storage?.root ?? env['STATE_DIRECTORY']?.split(':')[0] ?? '/var/lib/proxy'),
    entrypoints,
    trustedProxies,
    forwardedHeader: parsed.forwarded_header ?? false,
    requestIdHeader: parsed.request_id_header ?? true,
    errorPages,
    proxyProcesses: parsed.proxy_processes === 'auto' ? cpus : (parsed.proxy_processes ?? cpus),
    acme,
    sites: siteConfigs,
    services: serviceConfigs,
    shutdown: { delayMs: shutdown?.delay ?? 0, gracePeriodMs: shutdown?.grace_period ?? 25_000 },
    admin: { socket: adminSocket(base, admin, runtimeDirectory) },
    metrics,
    tracing:
      tracing === undefined
        ? null
        : { endpoint: tracing.endpoint, sample: tracing.sample, serviceName: tracing.service_name },
    logging: {
      level: logging?.level ?? 'info',
      format: logging?.format ?? 'auto',
      access: accessLog(logging?.access ?? true, base),
    },
  };
}

function accessLog(access: Sections['logging']['access'], base: string): Config['logging']['access'] {
  if (access === false) return null;
  if (access === true) return { file: null, format: 'auto', sample: 1 };
  return { ...access, file: access.file === undefined ? null : path.resolve(base, access.file) };
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

/** By name; null for a service whose own problems are told: it exists all the same. */
function parseServices(
  document: SourceDocument,
  value: unknown,
  problems: Problem[],
): Map<string, ServiceInput | null> {
  const out = new Map<string, ServiceInput | null>();
  if (value === undefined || value === null) return out;
  if (!isMapping(value)) {
    problems.push(document.problem(['services'], 'must be a mapping of names to services'));
    return out;
  }
  for (const [name, service] of Object.entries(value)) {
    const where: Path = ['services', name];
    if (!SERVICE_NAME.test(name)) {
      problems.push(document.problem(where, 'a service name is a-z, 0-9, - and _, and begins with a letter', 'key'));
    }
    const result = serviceSchema.safeParse(service ?? {}, { reportInput: true });
    out.set(name, result.success ? result.data : null);
    if (!result.success) {
      problems.push(...problemsOf(result.error.issues, where, document, (inner) => keysAt(serviceSchema, inner)));
    }
  }
  return out;
}

/** By index, those that are valid. */
function parseSites(document: SourceDocument, value: unknown, problems: Problem[]): Map<number, SiteInput> {
  const out = new Map<number, SiteInput>();
  if (!Array.isArray(value) || value.length === 0) {
    const message =
      value === undefined || value === null ? 'there is no site: nothing would be served' : 'must be a list of sites';
    problems.push(document.problem(['sites'], message));
    return out;
  }
  value.forEach((site: unknown, index) => {
    const result = siteSchema.safeParse(site, { reportInput: true });
    if (result.success) out.set(index, result.data);
    else
      problems.push(
        ...problemsOf(result.error.issues, ['sites', index], document, (inner) => keysAt(siteSchema, inner)),
      );
  });
  return out;
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

function whole(file: string, message: string): Problem {
  return { file, line: 1, column: 1, path: '', message };
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
