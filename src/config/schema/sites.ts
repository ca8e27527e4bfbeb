/** `sites[]`: the names that are served, and what answers to which path. */
import { z } from 'zod';
import { longDuration, size, text } from './values.ts';

const headerEdits = z
  .strictObject({
    set: z.record(z.string(), z.string()).default({}).describe('`{ NAME: VALUE }`, in place of what there is'),
    remove: z.array(text).default([]).describe('`[NAME]`'),
  })
  .prefault({});

/** Of a site, and of all: a site's go before. */
export const errorsSchema = z
  .strictObject({
    pages: z
      .record(z.string(), text)
      .default({})
      .describe(
        "`{ 503: FILE, 5xx: FILE }`, 64 KiB each, HTML, JSON or text by their name, for what no worker answered; a site's go before. `{status}` and `{request_id}` in them are filled in. Without: plain text",
      ),
  })
  .prefault({});

const route = z.strictObject({
  path: text.describe('the longest prefix wins, by whole segments'),
  service: text.optional().describe('who answers; this or `redirect`'),
  strip_prefix: z.boolean().default(false).describe('the service gets the path without the prefix'),
  upgrade: z
    .union([z.boolean(), z.array(text)])
    .default(true)
    .describe(
      "protocols a connection may change to (`GET`, no body): true is `[websocket]`, false is none; a list may name others. Never HTTP's own such as `h2c`; to upstreams of `h2` and `h2c` none at all (501)",
    ),
  redirect: z
    .strictObject({
      to: text.describe("`{uri}` is path and query, `{rest}` what follows the route's path"),
      status: z
        .union([z.literal(301), z.literal(302), z.literal(307), z.literal(308)])
        .default(308)
        .describe('307 and 308 keep the method'),
    })
    .optional(),
});

export const siteSchema = z.strictObject({
  hosts: z.array(text).min(1).describe('names, `*.name`, addresses, or `"*"`; they share one certificate'),
  tls: z
    .union([z.enum(['acme', 'internal', 'off']), z.strictObject({ certificate: text, key: text })])
    .optional()
    .describe(
      '`internal`: by a CA of its own; a pair of PEM files. Without: `internal` for `localhost`, local names and private addresses, else `acme`',
    ),
  redirect_https: z.boolean().default(true).describe('plain requests get a 308'),
  service: text.optional().describe('short for one route with the path `/`'),
  routes: z.array(route).min(1).optional(),
  headers: z
    .strictObject({
      request: headerEdits.describe('of what services get'),
      response: headerEdits.describe('of what clients get'),
    })
    .prefault({}),
  hsts: z
    .strictObject({
      max_age: longDuration.describe('such as `365d`'),
      include_subdomains: z.boolean().default(false).describe('names below these too'),
      preload: z.boolean().default(false).describe('may be put on the lists that browsers ship'),
    })
    .optional()
    .describe('sends `Strict-Transport-Security` over TLS'),
  max_body_size: size(0).describe('of a request; more is a 413; 0: no limit'),
  errors: errorsSchema,
});
