/** A steady load below what the machine can do: nothing fails, nothing takes long, nothing grows. */
import assert from 'node:assert/strict';
import os from 'node:os';
import { cpuSeconds, cpuSecondsOfEnded, processTree } from '../bench/usage.ts';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { FIXTURES, startDaemon } from '../support/daemon.ts';
import { grownBy, watchGrowth } from '../support/growth.ts';
import type { Growth } from '../support/growth.ts';
import { asIfUnhindered, h2load, quantile } from '../support/h2load.ts';
import type { H2loadOrder } from '../support/h2load.ts';

export const SUMMARY =
  'HTTP/1.1 and HTTP/2 at 70 % of the measured peak: no failure, p99 within 25 ms, no growth (SECONDS=60 SHARE=0.7)';

const PEAK_SECONDS = 8;
const P99_MS = 25;
/** Of one process: the mean of the last third above those of both before. */
const ALLOWED_GROWTH = 4 * 1024 * 1024;
const MIB = 1024 * 1024;

type Order = Omit<H2loadOrder, 'seconds' | 'rate'>;
const ORDERS: readonly Order[] = [
  { protocol: 'http/1.1', connections: 40, streams: 1 },
  { protocol: 'h2', connections: 8, streams: 5 },
];

export async function prove(): Promise<void> {
  const seconds = Number(process.env['SECONDS'] ?? 60);
  const share = Number(process.env['SHARE'] ?? 0.7);
  await using daemon = await startDaemon({
    config: `proxy_processes: 2
logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: [node, bench_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 2 }
`,
  });
  // Once to warm up, once to measure: the peak is what both do at once.
  await Promise.all(ORDERS.map((order) => h2load(daemon, { ...order, seconds: PEAK_SECONDS / 2 })));
  const peaks = await Promise.all(ORDERS.map((order) => h2load(daemon, { ...order, seconds: PEAK_SECONDS })));
  const orders = ORDERS.map((order, i) => ({ ...order, seconds, rate: (peaks[i]?.perSecond ?? 0) * share }));

  const over = new AbortController();
  const growth = watchGrowth(daemon, over.signal);
  const ours = [process.pid, ...processTree(daemon.pid)];
  const cpu = (): { own: number; all: number } => ({
    own: cpuSeconds(ours) + cpuSecondsOfEnded(),
    all: machineCpuSeconds(),
  });
  const before = cpu();
  const results = await Promise.all(orders.map((order) => h2load(daemon, order)));
  const after = cpu();
  over.abort();
  const processes = await growth;

  const rows = [['', 'PEAK req/s', 'LOAD req/s', 'REQUESTS', 'BAD', 'p50 ms', 'p99 ms', 'p99.9 ms']];
  const problems: string[] = [];
  for (const [i, order] of orders.entries()) {
    const [result, peak] = [results[i], peaks[i]];
    assert.ok(result !== undefined && peak !== undefined);
    const tookMs = asIfUnhindered(result, order);
    const [p50 = 0, p99 = 0, p999 = 0] = [0.5, 0.99, 0.999].map((part) => quantile(tookMs, part));
    rows.push([
      order.protocol,
      peak.perSecond.toFixed(0),
      result.perSecond.toFixed(0),
      String(result.requests),
      String(result.bad + peak.bad),
      ...[p50, p99, p999].map((ms) => ms.toFixed(1)),
    ]);
    if (result.bad + peak.bad > 0) problems.push(`${order.protocol}: ${result.bad} bad\n${result.text}`);
    if (result.perSecond < order.rate * 0.95) problems.push(`${order.protocol}: the rate was not kept`);
    if (!(p99 <= P99_MS)) problems.push(`${order.protocol}: p99 is ${p99.toFixed(1)} ms, allowed are ${P99_MS}`);
  }
  const used = (cpuTime: number): string =>
    `${((cpuTime / seconds / os.availableParallelism()) * 100).toFixed(0)} % of this machine's CPU time`;
  const others = used(after.all - before.all - (after.own - before.own));
  if (problems.length > 0) problems.push(`meanwhile others took ${others}`);
  print(formatTable(rows));
  const thirds = ({ memory }: Growth): string => memory.map((mean) => (mean / MIB).toFixed(1)).join(' ');
  print(
    formatTable([
      ...processes.map((each) => [`MiB of ${each.name} in each third`, thirds(each)]),
      ['proxy, workers and clients took', used(after.own - before.own)],
      ['others, who disturb it, took', others],
    ]),
  );
  for (const { name, memory } of processes) {
    const grown = grownBy(memory);
    if (grown > ALLOWED_GROWTH) problems.push(`${name} grew by ${(grown / MIB).toFixed(1)} MiB`);
  }
  assert.deepEqual(problems, []);
}

/** Seconds of CPU time this machine has given to anybody so far. */
function machineCpuSeconds(): number {
  return os.cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + (user + nice + sys + irq) / 1_000, 0);
}
