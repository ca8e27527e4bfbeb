/** The file's shape: every key there is, its type and its default. What keys mean to each other is in `checks.ts`. */
import { z } from 'zod';
import { splitCommand } from './shell_words.ts';
import { parseDuration, parseSize } from './units.ts';

const count = (min: number, max = 1_000_000): z.ZodNumber => z.int().min(min).max(max);

/** As the JSON Schema says it; what is right is decided by `units.ts`. */
const durationText = z.string().meta({
  pattern: String.raw`^(0|(\d+(\.\d+)?(ms|s|m|h|d))+)$|\$\{`,
  description: 'a duration: 250ms, 10s, 5m, 24h',
});
const sizeText = z.string().meta({
  pattern: String.raw`^\d+(\.\d+)?\s?([KMG]i?B|B)?$|\$\{`,
  description: 'a size: 64KiB, 10MiB, or bytes',
});
const durationValue = z.union([durationText, z.number().meta({ const: 0 })]);
const duration = (byDefault: string) =>
  durationValue.transform((value, context) => readDuration(value, context)).prefault(byDefault);
const sizeValue = z.union([sizeText, z.number()]).transform(readSize);
const size = (byDefault: string | number) => sizeValue.prefault(byDefault);
/** Of a head or its first line: a CA's own request for a challenge has a line of 85 bytes and five fields, and must pass. */
const headSize = sizeValue.pipe(z.number().min(256));
/** Said to others, never waited for: it may be longer than a timer can hold. */
const longDuration = durationValue.transform((value, context) => readDuration(value, context, Infinity));
const text = z.string().min(1);

function readDuration(value: string | number, context: z.core.$RefinementCtx<string | number>, maxMs?: number): number {
  const ms = parseDuration(String(value), maxMs);
  if (ms !== null) return ms;
  context.addIssue({ code: 'custom', message: 'is not a duration such as 250ms, 10s, 5m or 24h', input: value });
  return z.NEVER;
}

function readSize(value: string | number, context: z.core.$RefinementCtx<string | number>): number {
  const bytes = parseSize(String(value));
  if (bytes !== null) return bytes;
  context.addIssue({ code: 'custom', message: 'is not a size such as 64KiB, 10MiB or 1048576', input: value });
  return z.NEVER;
}

const command = z.union([
  z.array(text).min(1),
  z.string().transform((line, context) => {
    const split = splitCommand(line);
    if (split.ok) return [...split.words];
    context.addIssue({ code: 'custom', message: split.problem, input: line });
    return z.NEVER;
  }),
]);

const entrypoint = z.strictObject({
  address: text,
  tls: z.boolean().optional(),
  public_port: count(1, 65_535).optional(),
  proxy_protocol: z.boolean().default(false),
  max_connections: count(1).default(10_000),
  max_connections_per_client: count(0).default(0),
  max_requests: count(0).default(0),
  min_rate: size(0),
  max_header_size: headSize.prefault('16KiB'),
  max_headers: count(10, 10_000).default(100),
  max_request_line: headSize.optional(),
  http2: z.boolean().default(true),
  max_streams: count(1, 10_000).default(100),
  timeouts: z
    .strictObject({
      headers: duration('30s'),
      idle: duration('75s'),
      body_idle: duration('60s'),
      write_idle: duration('60s'),
      tunnel_idle: duration('1h'),
    })
    .prefault({}),
});

const issuer = z.strictObject({
  ca: text.default('letsencrypt'),
  test_ca: text.optional(),
  trusted_roots: z.array(text).default([]),
  profile: text.optional(),
  eab: z.strictObject({ kid: text, hmac_key: text }).optional(),
  preferred_chain: text.optional(),
});

const dns = z.strictObject({
  exec: command.optional(),
  exec_timeout: duration('60s'),
  rfc2136: z
    .strictObject({
      server: text,
      zone: text.optional(),
      key_name: text.optional(),
      key_secret: text.optional(),
      algorithm: z.enum(['hmac-sha256', 'hmac-sha384', 'hmac-sha512']).default('hmac-sha256'),
      ttl: duration('60s'),
    })
    .optional(),
  propagation_timeout: duration('2m'),
});

const headerEdits = z
  .strictObject({ set: z.record(z.string(), z.string()).default({}), remove: z.array(text).default([]) })
  .prefault({});

const errors = z.strictObject({ pages: z.record(z.string(), text).default({}) }).prefault({});

export const siteSchema = z.strictObject({
  hosts: z.array(text).min(1),
  tls: z.union([z.enum(['acme', 'internal', 'off']), z.strictObject({ certificate: text, key: text })]).optional(),
  redirect_https: z.boolean().default(true),
  service: text.optional(),
  routes: z
    .array(
      z.strictObject({
        path: text,
        service: text.optional(),
        strip_prefix: z.boolean().default(false),
        upgrade: z.union([z.boolean(), z.array(text)]).default(true),
        redirect: z
          .strictObject({
            to: text,
            status: z.union([z.literal(301), z.literal(302), z.literal(307), z.literal(308)]).default(308),
          })
          .optional(),
      }),
    )
    .min(1)
    .optional(),
  headers: z.strictObject({ request: headerEdits, response: headerEdits }).prefault({}),
  hsts: z
    .strictObject({
      max_age: longDuration,
      include_subdomains: z.boolean().default(false),
      preload: z.boolean().default(false),
    })
    .optional(),
  max_body_size: size(0),
  errors,
});

const rlimit = z.union([z.literal('unlimited'), count(0, Number.MAX_SAFE_INTEGER)]).optional();
/** A user or a group, by name or number. */
const identity = z.union([text, count(0)]).transform(String);

export const serviceSchema = z.strictObject({
  command: command.optional(),
  upstreams: z
    .array(z.union([text, z.strictObject({ url: text, weight: count(1, 1_000).default(1) })]))
    .transform((list) => list.map((item) => (typeof item === 'string' ? { url: item, weight: 1 } : item)))
    .prefault([]),
  tls: z.strictObject({ trusted_roots: z.array(text).default([]), server_name: text.optional() }).prefault({}),
  directory: text.default('.'),
  env: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)).default({}),
  env_file: z.union([text, z.array(text)]).default([]),
  user: identity.optional(),
  group: identity.optional(),
  groups: z.array(identity).optional(),
  umask: z
    .string()
    .refine((digits) => /^0?[0-7]{3}$/.test(digits), 'is not three octal digits such as "027"')
    .optional(),
  nice: z.int().min(-20).max(19).optional(),
  cpu_affinity: z
    .string()
    .refine((list) => /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(list), 'is not a list of CPUs such as "0-3,6"')
    .optional(),
  rlimits: z
    .strictObject({
      as: rlimit,
      core: rlimit,
      cpu: rlimit,
      data: rlimit,
      fsize: rlimit,
      memlock: rlimit,
      nofile: rlimit,
      nproc: rlimit,
      stack: rlimit,
    })
    .prefault({}),
  release: z.union([text, z.number()]).transform(String).optional(),
  prestart: z.array(z.strictObject({ name: text.optional(), command, timeout: duration('0') })).default([]),
  workers: z
    .union([
      z.literal('auto'),
      count(1, 1_000),
      z.strictObject({
        min: count(1, 1_000).default(1),
        max: count(1, 1_000).optional(),
        down_after: duration('5m'),
      }),
    ])
    .default('auto'),
  concurrency: count(0).default(0),
  memory: z.strictObject({ soft: size(0), hard: size(0) }).prefault({}),
  max_requests: count(0).default(0),
  max_age: duration('0'),
  health_check: z
    .union([
      z.literal('process'),
      z.strictObject({
        path: text.startsWith('/').optional(),
        interval: duration('5s'),
        timeout: duration('5s'),
        rise: count(1).default(1),
        fall: count(1).default(3),
      }),
    ])
    .prefault({}),
  load_balancing: z
    .strictObject({
      policy: z.enum(['least_conn', 'round_robin', 'random_two', 'hash']).default('least_conn'),
      hash: text.optional(),
      sticky_cookie: text.optional(),
      retries: count(0, 10).default(2),
      slow_start: duration('0'),
      ejection: z.strictObject({ failures: count(0, 1_000).default(3), duration: duration('10s') }).prefault({}),
    })
    .prefault({}),
  queue: z.strictObject({ max: count(0).default(100), timeout: duration('10s') }).prefault({}),
  timeouts: z
    .strictObject({
      start: duration('60s'),
      liveness: duration('30s'),
      drain: duration('30s'),
      streams: duration('10s'),
      stop: duration('10s'),
      connect: duration('3s'),
      response: duration('60s'),
      response_idle: duration('60s'),
      event_idle: duration('1h'),
      idle: duration('1.5s'),
    })
    .prefault({}),
});

/** Sections are parsed one by one, so that a mistake in one does not hide those in another. */
export const sections = {
  user: identity.optional(),
  group: identity.optional(),
  runtime_directory: text.default('/run/proxy'),
  entrypoints: z.record(z.string(), entrypoint).prefault({ http: { address: ':80' }, https: { address: ':443' } }),
  trusted_proxies: z.array(text).default([]),
  forwarded_header: z.boolean().default(false),
  request_id_header: z.boolean().default(true),
  errors,
  proxy_processes: z.union([z.literal('auto'), count(1, 256)]).default('auto'),
  acme: z
    .strictObject({
      email: text.optional(),
      agree_tos: z.boolean().default(false),
      issuers: z.array(issuer).min(1).prefault([{}]),
      challenges: z
        .array(z.enum(['http-01', 'tls-alpn-01', 'dns-01', 'dns-persist-01']))
        .min(1)
        .default(['http-01', 'tls-alpn-01']),
      dns: dns.optional(),
      resolvers: z.array(text).default([]),
      public_addresses: z.array(text).default([]),
      key_type: z.enum(['p256', 'p384', 'rsa2048', 'rsa4096']).default('p256'),
      reuse_key: z.boolean().default(false),
      hook: command.optional(),
    })
    .optional(),
  storage: z
    .strictObject({
      type: z.literal('file_system').default('file_system'),
      root: text.optional(),
      allow_ephemeral: z.boolean().default(false),
    })
    .prefault({}),
  shutdown: z.strictObject({ delay: duration('0'), grace_period: duration('25s') }).prefault({}),
  admin: z.strictObject({ socket: text.optional() }).prefault({}),
  metrics: z
    .union([z.literal('off'), z.strictObject({ address: text.default('127.0.0.1:9180'), token: text.optional() })])
    .prefault({}),
  logging: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      format: z.enum(['auto', 'text', 'json']).default('auto'),
      access: z
        .union([
          z.boolean(),
          z.strictObject({
            file: text.optional(),
            format: z.enum(['auto', 'json', 'combined']).default('auto'),
            sample: z.number().gt(0).max(1).default(1),
          }),
        ])
        .default(true),
    })
    .prefault({}),
  include: z.union([text, z.array(text)]).optional(),
} as const;

export type SiteInput = z.output<typeof siteSchema>;
export type ServiceInput = z.output<typeof serviceSchema>;
export type Sections = { readonly [Name in keyof typeof sections]: z.output<(typeof sections)[Name]> };

export const TOP_LEVEL_KEYS: readonly string[] = [...Object.keys(sections), 'sites', 'services'];
