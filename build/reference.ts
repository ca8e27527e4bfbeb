/** Every configuration key as Markdown, from what the schema says of it: `npm run readme` puts it into `config/reference.md`. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { configurationJsonSchema } from '../src/config/json_schema.ts';

export const PAGE = path.join(import.meta.dirname, '../config/reference.md');
const MARKERS = [
  '<!-- keys: written by `npm run readme` from src/config/schema.ts -->',
  '<!-- end of keys -->',
] as const;
/** What people come for stands first. */
const FIRST = ['services', 'sites', 'acme', 'entrypoints'];

interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly description?: string;
  readonly $ref?: string;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | false;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** The page with its keys as the schema has them. */
export function referencePage(page: string): string {
  const [from, to] = [page.indexOf(MARKERS[0]), page.indexOf(MARKERS[1])];
  if (from < 0 || to < from) throw new Error(`${PAGE} has lost its markers`);
  return `${page.slice(0, from + MARKERS[0].length)}\n\n${keys()}\n\n${page.slice(to)}`;
}

function keys(): string {
  // What zod writes has no narrower type; the test of the page reads it whole.
  const { properties = {} } = configurationJsonSchema() as Schema;
  const names = [...FIRST, ...Object.keys(properties).filter((name) => !FIRST.includes(name))];
  const titled = names.flatMap((name) => {
    const schema = properties[name];
    const content = schema && contentOf(schema);
    return content === undefined ? [] : [{ name, schema, content }];
  });
  const plain = names.filter((name) => !titled.some((section) => section.name === name));
  const sections = titled.map(({ name, schema, content: { suffix, object } }) => {
    const intro = schema?.description === undefined ? '' : `${schema.description}\n\n`;
    return { title: `${name}${suffix}`, text: intro + table(rowsOf(object, '')) };
  });
  const others = Object.fromEntries(plain.map((name) => [name, properties[name] ?? {}]));
  sections.push({ title: 'Other keys', text: table(rowsOf({ properties: others }, '')) });
  const anchor = (title: string): string =>
    title
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-');
  const contents = sections.map(({ title }) => `[${title}](#${anchor(title)})`).join(' · ');
  return [contents, ...sections.map(({ title, text }) => `## ${title}\n\n${text}`)].join('\n\n');
}

type Row = readonly [key: string, value: string, byDefault: string, description: string];

function table(rows: readonly Row[]): string {
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`);
  return ['| key | value | default | |', '|---|---|---|---|', ...lines].join('\n');
}

function rowsOf({ properties = {}, required = [] }: Schema, prefix: string): readonly Row[] {
  return Object.entries(properties).flatMap(([key, schema]) => {
    const name = `${prefix}${key}`;
    const content = contentOf(schema);
    const values = alternatives(schema).filter((one) => content === undefined || !isDescribed(one));
    const value = values.map(valueOf).filter((text, i, all) => all.indexOf(text) === i);
    const byDefault = required.includes(key) && schema.default === undefined ? 'required' : defaultOf(schema);
    const own: Row = [`\`${name}\``, value.join(' or '), byDefault, schema.description ?? ''];
    if (content === undefined) return [own];
    const children = rowsOf(content.object, `${name}${content.suffix}.`);
    return schema.description === undefined && value.length === 0 ? children : [own, ...children];
  });
}

/** The object whose keys have rows of their own, be it the value itself, in a list, under names, or one of several kinds. */
function contentOf(schema: Schema): { readonly suffix: '' | '[]' | '.NAME'; readonly object: Schema } | undefined {
  for (const one of alternatives(schema)) {
    if (!isDescribed(one)) continue;
    if (one.properties !== undefined) return { suffix: '', object: one };
    if (one.items !== undefined) return { suffix: '[]', object: one.items };
    if (one.additionalProperties) return { suffix: '.NAME', object: one.additionalProperties };
  }
  return undefined;
}

/** Of small things such as `{ url, weight }` their name says enough. */
function isDescribed({ properties, items, additionalProperties }: Schema): boolean {
  if (items !== undefined) return isDescribed(items);
  if (additionalProperties) return isDescribed(additionalProperties);
  return Object.values(properties ?? {}).some((child) => child.description !== undefined || isDescribed(child));
}

/** Without the `${NAME}` that may stand anywhere. */
function alternatives(schema: Schema): readonly Schema[] {
  const { anyOf } = schema;
  if (anyOf === undefined) return [schema];
  return anyOf.filter(({ pattern }) => pattern !== String.raw`\$\{`).flatMap(alternatives);
}

function valueOf(schema: Schema): string {
  const { type, $ref, items, properties, minimum = 0, maximum = Infinity } = schema;
  if ($ref !== undefined) return $ref.slice($ref.lastIndexOf('/') + 1);
  if (schema.const !== undefined) return code(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ');
  if (items !== undefined) return `list of ${alternatives(items).map(valueOf).join(' or ')}`;
  if (properties !== undefined) return `\`{ ${Object.keys(properties).join(', ')} }\``;
  if (type === 'object') return 'mapping';
  if (type === 'boolean') return 'true or false';
  if (type === 'integer' || type === 'number') {
    if (maximum < 1_000_000) return type === 'integer' ? `${minimum} to ${maximum}` : `up to ${maximum}`;
    return minimum > 0 ? `number from ${minimum}` : 'number';
  }
  return 'text';
}

function defaultOf(schema: Schema): string {
  const { default: byDefault } = schema;
  if (byDefault === undefined || (Array.isArray(byDefault) && byDefault.length === 0)) return '';
  if (typeof byDefault !== 'object' || byDefault === null) return code(byDefault);
  if (Array.isArray(byDefault)) {
    return byDefault.every((item) => typeof item === 'string') ? code(`[${byDefault.join(', ')}]`) : '';
  }
  // The keys that have rows say it themselves.
  if (alternatives(schema).some(isDescribed)) return '';
  const parts = alternatives(schema)
    .flatMap(({ properties }) => Object.entries(properties ?? {}))
    .flatMap(([key, child]) => (child.default === undefined ? [] : [`${key}: ${String(child.default)}`]));
  return parts.length === 0 ? '' : code(`{ ${parts.join(', ')} }`);
}

function code(value: unknown): string {
  return `\`${String(value)}\``;
}

if (import.meta.main) writeFileSync(PAGE, referencePage(readFileSync(PAGE, 'utf8')));
