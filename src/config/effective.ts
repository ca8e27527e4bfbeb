/** The configuration as it takes effect, as YAML to read: every default filled in, what is secret masked. */
import { stringify } from 'yaml';
import { z } from 'zod';
import type { Config } from './config.ts';
import { formatPath } from './document.ts';
import type { Path } from './document.ts';
import type { MergedDocument } from './merge.ts';
import { sections, serviceSchema, siteSchema } from './schema.ts';
import { hasCredentials, isSecretName, MASK } from './secrets.ts';

/**
 * Of a valid configuration. Values from `${NAME}` and `file:`, and those of secret keys, are `***`. `commands`: what is run,
 * as it may be shown, by the service's name.
 */
export function effectiveYaml(
  config: Config,
  document: MergedDocument,
  commands: ReadonlyMap<string, readonly string[]>,
): string {
  // What it includes is part of the whole by now.
  const { include: _, ...own } = sections;
  const shape = z.strictObject({
    ...own,
    sites: z.array(siteSchema),
    services: z.record(z.string(), serviceSchema),
  });

  const isFromVariable = (at: Path): boolean => document.template(at) !== null;
  const leaf = (value: unknown, at: Path): unknown => {
    if (isFromVariable(at)) return MASK;
    const text = String(value);
    // The name is that of the nearest key: items of a list are as secret as the list.
    const name = String(at.findLast((part) => typeof part === 'string') ?? '');
    if (isSecretName(name) || text.startsWith('file:') || hasCredentials(text)) return MASK;
    return value;
  };

  const complete = (schema: unknown, raw: unknown, at: Path): unknown => {
    if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault) {
      return complete(schema.unwrap(), raw ?? schema.def.defaultValue, at);
    }
    if (schema instanceof z.ZodOptional) return complete(schema.unwrap(), raw, at);
    if (schema instanceof z.ZodPipe) return complete(schema.in, raw, at);
    if (schema instanceof z.ZodUnion && typeof raw === 'object' && raw !== null) {
      const kind = Array.isArray(raw) ? z.ZodArray : z.ZodObject;
      return complete(
        schema.options.find((option) => option instanceof kind),
        raw,
        at,
      );
    }
    if (schema instanceof z.ZodObject) {
      if (raw === undefined) return undefined;
      const given = (raw ?? {}) as Readonly<Record<string, unknown>>;
      return mapEntries(schema.shape, (key, inner) => complete(inner, given[key], [...at, key]));
    }
    if (schema instanceof z.ZodRecord) {
      return mapEntries((raw ?? {}) as object, (key, value) => complete(schema.valueType, value ?? {}, [...at, key]));
    }
    if (Array.isArray(raw)) {
      const element: unknown = schema instanceof z.ZodArray ? schema.element : null;
      return raw.map((value, i) => complete(element, value, [...at, i]));
    }
    return raw === undefined || raw === null ? undefined : leaf(raw, at);
  };

  const whole = complete(shape, { services: {}, ...(document.value as object) }, []);
  for (const [at, value, source = at] of derived(config)) {
    const hidden = isFromVariable(at) || isFromVariable(source);
    put(whole, at, hidden ? MASK : value);
  }
  // Word by word: one that is secret hides no other.
  for (const [name, words] of commands) put(whole, ['services', name, 'command'], words);
  const names = config.files.map((file) => `# ${JSON.stringify(file)}\n`).join('');
  return names + stringify(whole, { aliasDuplicateObjects: false, lineWidth: 0 });
}

/** `source`: the key it is made of, when that is another: what hides the one hides the other. */
type Derived = readonly [at: Path, value: unknown, source?: Path];

/** Defaults that depend on other keys or on the machine, and paths made absolute: files of several folders are shown as one. */
function derived(config: Config): Derived[] {
  return [
    [['runtime_directory'], config.runtimeDirectory],
    [['storage', 'root'], config.stateDirectory],
    [['admin', 'socket'], config.admin.socket, ['runtime_directory']],
    [['proxy_processes'], config.proxyProcesses],
    ...config.entrypoints.flatMap(({ name, tls, publicPort, maxRequestLine }): Derived[] => [
      [['entrypoints', name, 'tls'], tls],
      [['entrypoints', name, 'public_port'], publicPort, ['entrypoints', name, 'address']],
      [['entrypoints', name, 'max_request_line'], maxRequestLine, ['entrypoints', name, 'max_header_size']],
    ]),
    ...(config.acme?.issuers ?? []).flatMap(({ trustedRoots }, i): Derived[] =>
      trustedRoots.map((file, j): Derived => [['acme', 'issuers', i, 'trusted_roots', j], file]),
    ),
    ...config.sites.flatMap(({ tls }, i): Derived[] =>
      tls.mode === 'files'
        ? [
            [['sites', i, 'tls', 'certificate'], tls.certificate],
            [['sites', i, 'tls', 'key'], tls.key],
          ]
        : [[['sites', i, 'tls'], tls.mode]],
    ),
    ...config.services.flatMap(({ name, directory, workers, sizing }): Derived[] => [
      [['services', name, 'directory'], directory],
      sizing.type === 'load'
        ? [['services', name, 'workers', 'max'], sizing.max]
        : [['services', name, 'workers'], workers],
    ]),
  ];
}

function put(whole: unknown, at: Path, value: unknown): void {
  let inner = whole as Record<string | number, unknown>;
  for (const part of at.slice(0, -1)) {
    const next = inner[part];
    if (typeof next !== 'object' || next === null) throw new Error(`${formatPath(at)} is in no mapping`);
    inner = next as Record<string | number, unknown>;
  }
  inner[at.at(-1) ?? ''] = value;
}

function mapEntries(object: object, map: (key: string, value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(object).flatMap(([key, value]) => {
      const mapped = map(key, value);
      return mapped === undefined ? [] : [[key, mapped]];
    }),
  );
}
