/** `services.NAME`: what answers, be it started by us or by somebody else. */
import { z } from 'zod';
import { command, count, duration, identity, size, text } from './values.ts';

const rlimit = z.union([z.literal('unlimited'), count(0, Number.MAX_SAFE_INTEGER)]).optional();

export const serviceSchema = z.strictObject({
  command: command
    .optional()
    .describe(
      'starts one worker; `{socket}`, `{port}`, `{fd}`, `{host}`, `{slot}` and `{gen}` (a number for each start) are filled in, in `env` too',
    ),
  upstreams: z
    .array(z.union([text, z.strictObject({ url: text, weight: count(1, 1_000).default(1) })]))
    .transform((list) => list.map((item) => (typeof item === 'string' ? { url: item, weight: 1 } : item)))
    .prefault([])
    .describe('what somebody else runs: `http://host:port`, `https://`, `h2://` (TLS) or `h2c://` (gRPC)'),
  tls: z
    .strictObject({
      trusted_roots: z.array(text).default([]).describe("PEM files; without: the system's roots"),
      server_name: text.optional().describe('without: the name in the URL'),
    })
    .prefault({})
    .describe('of upstreams'),
  directory: text.default('.').describe('its links are followed once for each release'),
  env: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
    .default({})
    .describe('`{ NAME: VALUE }`; `file:PATH` stands for what is in a file'),
  env_file: z
    .union([text, z.array(text)])
    .default([])
    .describe('a file or a list of them with lines of `NAME=VALUE`; `env` goes before'),
  user: identity
    .optional()
    .describe(
      "who workers are when started as root; without: the directory's owner, or `nobody` if that is root. A warning at the start says when they could read the keys, use the admin socket, disturb the proxies or reach the workers of all services",
    ),
  group: identity.optional().describe("without: the user's"),
  groups: z.array(identity).optional().describe("supplementary ones; without: the user's"),
  umask: z
    .string()
    .refine((digits) => /^0?[0-7]{3}$/.test(digits), 'is not three octal digits such as "027"')
    .optional()
    .describe('in quotes; without: `"007"`'),
  nice: z.int().min(-20).max(19).optional().describe('without: ours'),
  cpu_affinity: z
    .string()
    .refine((list) => /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/.test(list), 'is not a list of CPUs such as "0-3,6"')
    .optional()
    .describe('such as `"0-3,6"`; without: all'),
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
    .prefault({})
    .describe(
      'such as `{ nofile: 65536, core: unlimited }`, by the names of prlimit(1), in bytes, seconds or numbers; without: ours',
    ),
  release: z
    .union([text, z.number()])
    .transform(String)
    .optional()
    .describe('any word; another one is another release'),
  prestart: z
    .array(
      z.strictObject({
        name: text.optional().describe('in logs, in `status`, and in what visitors are told'),
        command: command.describe('with the user, directory and environment of a worker'),
        timeout: duration('0').describe('0: as long as it takes'),
      }),
    )
    .default([])
    .describe('before the first worker of a release, in this order, once'),
  workers: z
    .union([
      z.literal('auto'),
      count(1, 1_000),
      z.strictObject({
        min: count(1, 1_000).default(1).describe('at least so many'),
        max: count(1, 1_000).optional().describe('at most; without: the number of CPUs'),
        down_after: duration('5m').describe('so long they have little to do before there are fewer'),
      }),
    ])
    .prefault('auto')
    .describe(
      "`auto`: the number of CPUs (of the cgroup's limit), at least 2, as far as memory has room; with `min` and `max`: as many as the load needs",
    ),
  concurrency: count(0)
    .default(0)
    .describe(
      'requests in flight for each worker, divided among the proxies (at least 1 each); others wait in the queue; 0: no limit',
    ),
  memory: z
    .strictObject({
      soft: size(0).describe(
        'a worker is replaced, the new one ready first, when its process group was above it three times, 5 s apart; 0: never',
      ),
      hard: size(0).describe('above it a worker is killed; 0: never'),
    })
    .prefault({}),
  max_requests: count(0)
    .default(0)
    .describe('a worker is replaced after so many (±10 %), one at a time, the new one ready first; 0: never'),
  max_age: duration('0').describe('a worker is replaced after so long (±10 %), in the same way; 0: never'),
  health_check: z
    .union([
      z.literal('process'),
      z.strictObject({
        path: text.startsWith('/').optional().describe('200–399 is healthy; without, any answer is'),
        interval: duration('5s').describe('between two checks'),
        timeout: duration('5s').describe('of one check'),
        rise: count(1).default(1).describe('good answers until it gets requests'),
        fall: count(1).default(3).describe('bad ones until it gets no more'),
      }),
    ])
    .prefault({})
    .describe('`process`: alive is enough, for what serves nothing and needs no route'),
  load_balancing: z
    .strictObject({
      policy: z
        .enum(['least_conn', 'round_robin', 'random_two', 'hash'])
        .default('least_conn')
        .describe('how a worker is chosen'),
      hash: text.optional().describe('of what: `client`, `header:NAME` or `cookie:NAME`'),
      sticky_cookie: text.optional().describe('name of a cookie that leads a visitor back to the same worker'),
      retries: count(0, 10).default(2).describe('other workers that may be asked'),
      // Against 0, rolling restarts of two uvicorn workers under load: 9 to 53 % less p99, in each of three pairs of runs.
      slow_start: duration('10s').describe('the time in which a new worker comes to its whole share beside older ones'),
      ejection: z
        .strictObject({ failures: count(0, 1_000).default(3), duration: duration('10s') })
        .prefault({})
        .describe('after so many failed requests in a row it gets none for a while'),
    })
    .prefault({}),
  queue: z
    .strictObject({
      max: count(0).default(100).describe('requests that wait while no worker is free'),
      timeout: duration('10s').describe('how long; then 503'),
    })
    .prefault({}),
  timeouts: z
    .strictObject({
      start: duration('60s').describe('until a new worker is ready'),
      liveness: duration('30s').describe('for which a worker may say nothing though it owes an answer'),
      drain: duration('30s').describe('for requests under way to end, before a worker is stopped'),
      streams: duration('10s').describe('what WebSockets and event streams get of `drain`'),
      stop: duration('10s').describe('between TERM and KILL'),
      connect: duration('3s').describe('to connect to a worker'),
      response: duration('60s').describe('until the head of its answer'),
      response_idle: duration('60s').describe('while an answer comes and nothing more is said'),
      event_idle: duration('1h').describe('the same of a `text/event-stream`'),
      idle: duration('1.5s').describe('for which an idle connection to a worker is used again'),
    })
    .prefault({}),
});
