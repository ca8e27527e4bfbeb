/** What is measured. A scenario more is an entry more in this table. */
import assert from 'node:assert/strict';
import type { HandshakesOptions, HandshakesResult } from './clients/handshakes.ts';
import type { IdleOptions, IdleResult } from './clients/idle.ts';
import { startClient } from './clients/protocol.ts';
import type { SlowReadersOptions, SlowReadersResult } from './clients/slow_readers.ts';
import { caddy } from './contenders/caddy.ts';
import type { Contender, ContenderKind } from './contenders/contender.ts';
import { haproxy } from './contenders/haproxy.ts';
import { nginx } from './contenders/nginx.ts';
import { observedProxy, proxy, unobservedProxy } from './contenders/proxy.ts';
import { download, h2load, percentiles, upload, wrk } from './load.ts';
import type { Answers, Tools, Transfer } from './load.ts';
import { createStartup, STARTUP_UNITS } from './startup.ts';
import { cpuOf, cpuOfPrograms } from './turn.ts';
import { residentKilobytes } from './usage.ts';
import { sleep } from '../../src/lifecycle.ts';

const SECONDS = Number(process.env['SECONDS_EACH'] ?? 1);
const KEEP_ALIVE_CONNECTIONS = 32;
const TRANSFER_BYTES = 64 * 1024 * 1024;
const TRANSFERS = 3;
const IDLE_CONNECTIONS = 1_000;
const SLOW_READERS = 200;
const SLOW_BYTES_PER_SECOND = 1_000_000;
const SHARE_OF_PEAK = 0.3;

/** What one turn of one contender gave. */
export interface Sample {
  /** As many as the scenario has units. */
  readonly values: readonly number[];
  /** Requests that were answered in full, each to be found in the access log. */
  readonly answers: number;
  readonly rate?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** How much of a core each used. */
  readonly ownCore?: number;
  readonly generatorCore?: number;
}

export type Measure = (contender: Contender) => Promise<Sample>;

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** Of each value; less is better. */
  readonly units: readonly string[];
  readonly rateUnit: string;
  /** The first is compared with each of the others. */
  readonly contenders: readonly ContenderKind[];
  readonly workersAt: 'sockets' | 'ports';
  readonly accessLog: boolean;
  /** Whether contenders have every core, not one of their own. */
  readonly spread: boolean;
  /** Whether a turn begins with a process that has served nothing. */
  readonly fresh: boolean;
  /** What a turn is; asked for once, when the contenders that live through all turns are there. */
  prepare(tools: Tools, contenders: readonly Contender[]): Measure | Promise<Measure>;
}

const ALL = [proxy(1), nginx, haproxy, caddy];
const USUAL = {
  contenders: ALL,
  workersAt: 'sockets',
  accessLog: true,
  fresh: false,
  spread: false,
  rateUnit: '/s',
} as const;
const KEEP_ALIVE = {
  ...USUAL,
  units: ['µs CPU/request'],
  prepare: (tools: Tools) => answered((contender) => wrk(tools, contender, KEEP_ALIVE_CONNECTIONS, SECONDS)),
} as const;
const HANDSHAKES = { ...USUAL, units: ['µs CPU/connection'] } as const;
const STARTUP = createStartup();
const TRANSFER = { ...USUAL, units: ['ms CPU'], rateUnit: 'MiB/s' } as const;

export const SCENARIOS: readonly Scenario[] = [
  { ...KEEP_ALIVE, name: 'h1', title: 'HTTP/1.1 keep-alive, small JSON, workers at Unix sockets' },
  { ...KEEP_ALIVE, name: 'h1-no-log', title: 'the same without access log', accessLog: false },
  { ...KEEP_ALIVE, name: 'h1-tcp', title: 'the same with access log, workers at TCP ports', workersAt: 'ports' },
  {
    ...KEEP_ALIVE,
    name: 'observed',
    title: 'ours with access log and metrics, and without',
    contenders: [observedProxy, unobservedProxy],
  },
  {
    ...USUAL,
    name: 'h2',
    title: 'HTTP/2, 16 connections × 8 streams, small JSON',
    units: ['µs CPU/request'],
    prepare: (tools) => {
      const options = { protocol: 'h2', connections: 16, streams: 8, seconds: SECONDS } as const;
      return answered((contender) => h2load(tools, contender, options));
    },
  },
  {
    ...HANDSHAKES,
    name: 'handshake',
    title: 'new TLS 1.3 connections, full handshake, P-256',
    prepare: () => (contender) => handshakes(contender, false),
  },
  {
    ...HANDSHAKES,
    name: 'resume',
    title: 'new TLS 1.3 connections, resumed',
    prepare: () => (contender) => handshakes(contender, true),
  },
  { ...TRANSFER, name: 'download', title: '64 MiB down', prepare: (tools) => moved(tools, download) },
  { ...TRANSFER, name: 'upload', title: '64 MiB up', prepare: (tools) => moved(tools, upload) },
  {
    ...USUAL,
    name: 'idle',
    title: `${IDLE_CONNECTIONS} idle TLS connections in a fresh process`,
    units: ['KB/connection'],
    workersAt: 'ports',
    fresh: true,
    prepare: () => idle,
  },
  {
    ...USUAL,
    name: 'slow-readers',
    title: `${SLOW_READERS} downloads at ${SLOW_BYTES_PER_SECOND / 1e6} MB/s each`,
    units: ['ms CPU/MiB', 'MB of growth'],
    rateUnit: 'MiB/s',
    workersAt: 'ports',
    fresh: true,
    prepare: (tools) => (contender) => slowReaders(tools, contender),
  },
  {
    ...KEEP_ALIVE,
    name: 'two-processes',
    title: `proxy_processes 2 and 1 on all cores, HTTP/1.1 at ${SHARE_OF_PEAK * 100} % of the one's peak`,
    spread: true,
    contenders: [proxy(2, 'proxy × 2'), proxy(1, 'proxy × 1')],
    prepare: async (tools, contenders) => {
      let rate = 0;
      // Each is under full load first: the peak is the last one's, and both are warm.
      for (const contender of contenders) {
        const peak = await wrk(tools, contender, KEEP_ALIVE_CONNECTIONS, SECONDS);
        rate = (peak.count / peak.seconds) * SHARE_OF_PEAK;
      }
      return answered((contender) => atRate(tools, contender, rate));
    },
  },
  {
    ...USUAL,
    name: 'startup',
    title: 'what is shipped, from nothing to the first answer over HTTPS of one Node worker, on all cores',
    units: STARTUP_UNITS,
    spread: true,
    fresh: true,
    accessLog: false,
    contenders: STARTUP.kinds,
    prepare: STARTUP.prepare,
  },
];

/** CPU time per answer of one program's run. */
function answered(load: (contender: Contender) => Promise<Answers>): Measure {
  return async (contender) => {
    const { result, ...used } = await cpuOfPrograms(contender, () => load(contender));
    return {
      values: [(used.cpuSeconds / result.count) * 1e6],
      answers: result.count,
      rate: result.count / result.seconds,
      p50Ms: result.p50Ms,
      p99Ms: result.p99Ms,
      ownCore: used.cpuSeconds / result.seconds,
      generatorCore: used.generatorSeconds / result.seconds,
    };
  };
}

async function atRate(tools: Tools, contender: Contender, rate: number): Promise<Answers> {
  const options = {
    protocol: 'http/1.1',
    connections: KEEP_ALIVE_CONNECTIONS,
    streams: 1,
    seconds: SECONDS,
    rate,
  } as const;
  const answers = await h2load(tools, contender, options);
  const achieved = answers.count / answers.seconds / rate;
  assert.ok(Math.abs(achieved - 1) < 0.1, `${contender.name}: ${achieved.toFixed(2)} of the rate that was asked for`);
  return answers;
}

type TransferOf = (tools: Tools, contender: Contender, bytes: number) => Promise<Transfer>;

/** CPU time of a few transfers, one after another. */
function moved(tools: Tools, transfer: TransferOf): Measure {
  return async (contender) => {
    const { result: seconds, ...used } = await cpuOfPrograms(contender, async () => {
      let sum = 0;
      for (let i = 0; i < TRANSFERS; i++) sum += (await transfer(tools, contender, TRANSFER_BYTES)).seconds;
      return sum;
    });
    return {
      values: [(used.cpuSeconds / TRANSFERS) * 1e3],
      answers: TRANSFERS,
      rate: (TRANSFERS * TRANSFER_BYTES) / 2 ** 20 / seconds,
      ownCore: used.cpuSeconds / seconds,
      generatorCore: used.generatorSeconds / seconds,
    };
  };
}

async function handshakes(contender: Contender, resume: boolean): Promise<Sample> {
  const options: HandshakesOptions = { port: contender.port, resume, seconds: Math.max(1, SECONDS / 2) };
  await using client = await startClient<HandshakesResult>('handshakes.ts', options);
  const { result: done, cpuSeconds } = await cpuOf(contender, () => client.work());
  const { ms } = done.result;
  return {
    values: [(cpuSeconds / ms.length) * 1e6],
    answers: 0,
    rate: ms.length / done.wallSeconds,
    ...percentiles(ms),
    ownCore: cpuSeconds / done.wallSeconds,
    generatorCore: done.cpuSeconds / done.wallSeconds,
  };
}

async function idle(contender: Contender): Promise<Sample> {
  const options: IdleOptions = { port: contender.port, count: IDLE_CONNECTIONS };
  await using client = await startClient<IdleResult>('idle.ts', options);
  const pids = await contender.pids();
  const before = residentKilobytes(pids);
  const { result } = await client.work();
  assert.equal(result.open, IDLE_CONNECTIONS, `${contender.name}: connections that stayed open`);
  return { values: [(residentKilobytes(pids) - before) / IDLE_CONNECTIONS], answers: 0 };
}

async function slowReaders(tools: Tools, contender: Contender): Promise<Sample> {
  // Code is loaded and the first buffers are there: what grows from here on is the slow readers'.
  await download(tools, contender, TRANSFER_BYTES);
  const pids = await contender.pids();
  const before = residentKilobytes(pids);
  const options: SlowReadersOptions = {
    port: contender.port,
    count: SLOW_READERS,
    bytesPerSecond: SLOW_BYTES_PER_SECOND,
    settleSeconds: 2,
    seconds: SECONDS,
  };
  await using client = await startClient<SlowReadersResult>('slow_readers.ts', options);
  let peak = residentKilobytes(pids);
  const { result: done, cpuSeconds } = await cpuOf(contender, async () => {
    const work = client.work();
    for (let i = 0; i < SECONDS * 5; i++) {
      await sleep(180);
      peak = Math.max(peak, residentKilobytes(pids));
    }
    return work;
  });
  const mebibytes = done.result.bytes / 2 ** 20;
  const wanted = (SLOW_READERS * SLOW_BYTES_PER_SECOND * done.wallSeconds) / 2 ** 20;
  assert.ok(
    mebibytes > wanted * 0.8 && mebibytes < wanted * 1.1,
    `${contender.name}: ${mebibytes.toFixed(0)} MiB were read instead of ${wanted.toFixed(0)}`,
  );
  return {
    values: [(cpuSeconds / mebibytes) * 1e3, (peak - before) / 1e3],
    answers: 1,
    rate: mebibytes / done.wallSeconds,
    ownCore: cpuSeconds / done.wallSeconds,
    generatorCore: done.cpuSeconds / done.wallSeconds,
  };
}
