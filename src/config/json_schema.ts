/** The configuration's JSON Schema, for editors. Only the form: what keys mean to each other is for `validate`. */
import { z } from 'zod';
import { sections, serviceSchema, siteSchema } from './schema.ts';

/** What a service may be called. */
export const SERVICE_NAME = /^[a-z][a-z0-9_-]{0,40}$/;

type Json = Record<string, unknown>;

export function configurationJsonSchema(): Json {
  const whole = z.strictObject({
    ...sections,
    sites: z.array(siteSchema).optional(),
    services: z.record(z.string().regex(SERVICE_NAME), serviceSchema).optional(),
  });
  const schema = z.toJSONSchema(whole, {
    io: 'input',
    override: ({ jsonSchema }) => allowVariables(jsonSchema as Json),
  });
  return { ...schema, title: 'proxy.yaml' };
}

/** `workers: ${COUNT}` is text until it is read. */
function allowVariables(schema: Json): void {
  const { type } = schema;
  if (type !== 'integer' && type !== 'number' && type !== 'boolean') return;
  const { default: byDefault, description, ...form } = schema;
  for (const key of Object.keys(form)) delete schema[key];
  schema['anyOf'] = [form, { type: 'string', pattern: '\\$\\{' }];
  if (byDefault !== undefined) schema['default'] = byDefault;
  if (description !== undefined) schema['description'] = description;
}
