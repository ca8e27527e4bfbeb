/**
 * The file's shape: every key there is, its type, its default and what it is for. `npm run readme` writes `config/reference.md`
 * of it. What keys mean to each other is in `checks.ts`.
 */
import { z } from 'zod';
import { acmeSchema } from './schema/acme.ts';
import { entrypointSchema } from './schema/entrypoints.ts';
import { serviceSchema } from './schema/services.ts';
import { errorsSchema, siteSchema } from './schema/sites.ts';
import { count, duration, identity, text } from './schema/values.ts';

export { serviceSchema, siteSchema };

/** Sections are parsed one by one, so that a mistake in one does not hide those in another. */
export const sections = {
  user: identity
    .optional()
    .describe(
      'who the proxies are once they have their sockets and keys, when started as root; without: `proxy`, or `nobody` where there is no such user',
    ),
  group: identity.optional().describe("without: the user's"),
  runtime_directory: text
    .default('/run/proxy')
    .describe('sockets and pid records of this instance; refused when others can write it, or when it is a link'),
  entrypoints: z
    .record(z.string(), entrypointSchema)
    .prefault({ http: { address: ':80' }, https: { address: ':443' } })
    .describe('Without: `http` at `:80` and `https` at `:443`.'),
  trusted_proxies: z
    .array(text)
    .default([])
    .describe('addresses, networks or `private_ranges` whose `X-Forwarded-*` are believed, read from the right'),
  forwarded_header: z.boolean().default(false).describe('workers get `Forwarded` (RFC 7239) too'),
  request_id_header: z.boolean().default(true).describe("clients get `X-Request-Id`, in place of a worker's own"),
  errors: errorsSchema,
  proxy_processes: z
    .union([z.literal('auto'), count(1, 256)])
    .default('auto')
    .describe('proxies; `auto`: the number of CPUs, at least 2'),
  acme: acmeSchema.optional(),
  storage: z
    .strictObject({
      type: z.literal('file_system').default('file_system').describe('the only kind'),
      root: text
        .optional()
        .describe(
          'certificates and accounts, 0600; several instances may share it; without: `$STATE_DIRECTORY`, else `/var/lib/proxy`',
        ),
      allow_ephemeral: z
        .boolean()
        .default(false)
        .describe('have public CAs issue although the folder ends with its container'),
    })
    .prefault({}),
  shutdown: z
    .strictObject({
      delay: duration('0').describe(
        'comes before the grace period: everything is served as before, but readiness says no, so that whoever sends traffic goes elsewhere first',
      ),
      grace_period: duration('25s').describe(
        'for requests (four fifths of it) and workers to end; new connections are refused meanwhile',
      ),
    })
    .prefault({}),
  admin: z
    .strictObject({ socket: text.optional().describe('without: `admin.sock` in the runtime directory') })
    .prefault({}),
  metrics: z
    .union([
      z.literal('off'),
      z.strictObject({
        address: text
          .default('127.0.0.1:9180')
          .describe(
            "over plain HTTP, to read only: `/`, a page with what is true and the last hour's charts; `/livez`, `/readyz` (200 or 503), `/metrics` for Prometheus ([what there is](metrics.md), with alert rules and a Grafana dashboard beside it). A loopback address answers to its own names alone",
          ),
        token: text
          .optional()
          .describe(
            'needed when others can reach the address, at least 16 characters, or `file:PATH`: `Authorization: Bearer TOKEN`, or as a password. Whoever has none learns from `/livez` and `/readyz` whether, not why',
          ),
      }),
    ])
    .prefault({})
    .describe('`metrics: off`: none of it.'),
  tracing: z
    .strictObject({
      endpoint: text
        .refine((url) => /^https?:\/\/./.test(url) && URL.canParse(url), 'is not an http or https URL')
        .describe('where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`'),
      sample: z
        .number()
        .min(0)
        .max(1)
        .default(1)
        .describe('the share of traces begun here that are recorded; others go on as their sender says'),
      service_name: text.default('proxy').describe('what spans say we are'),
    })
    .optional()
    .describe('Each request of a recorded trace is a span. Without: none is. Changed by a restart.'),
  logging: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('of events, and what is above it'),
      format: z.enum(['auto', 'text', 'json']).default('auto').describe('`auto`: text on a terminal, JSON otherwise'),
      access: z
        .union([
          z.boolean(),
          z.strictObject({
            file: text
              .optional()
              .describe('all proxies append to it, USR1 has them go on in a new one; without: where the log goes'),
            format: z
              .enum(['auto', 'json', 'combined'])
              .default('auto')
              .describe(
                "`combined`: Apache's and nginx's; `auto`: as `logging.format`, in a file JSON when that is `auto` too",
              ),
            sample: z
              .number()
              .gt(0)
              .max(1)
              .default(1)
              .describe(
                'the share of requests that get a line; those with a status of 400 or more or a retry always do',
              ),
          }),
        ])
        .default(true)
        .describe('a line for each request'),
    })
    .prefault({}),
  include: z
    .union([text, z.array(text)])
    .optional()
    .describe(
      'a file or a list of them, `*` in any part: more `sites` and `services`, whose relative paths are relative to their own file',
    ),
} as const;

export type SiteInput = z.output<typeof siteSchema>;
export type ServiceInput = z.output<typeof serviceSchema>;
export type Sections = { readonly [Name in keyof typeof sections]: z.output<(typeof sections)[Name]> };

export const TOP_LEVEL_KEYS: readonly string[] = [...Object.keys(sections), 'sites', 'services'];
