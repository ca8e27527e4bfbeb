/** A step of load up and down again: workers follow within seconds, end half idle to nine tenths busy, and go without a lost request. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { FIXTURES, startDaemon } from '../support/daemon.ts';
import type { Daemon, ServiceView } from '../support/daemon.ts';
import { h2load } from '../support/h2load.ts';
import type { H2loadResult } from '../support/h2load.ts';

export const SUMMARY =
  '10, then 200, then 10 requests/s for a handler that sleeps 100 ms, 1 to 6 workers of 5 requests each: they follow';

const CONCURRENCY = 5;
const DOWN_AFTER = '40s';
/** Seconds of each part; the last is as long as it takes. */
const [LOW_SECONDS, HIGH_SECONDS, END_SECONDS] = [20, 75, 130];
const WORKER = `const http = require('http');
  process.on('SIGTERM', () => process.exit(0));
  http.createServer((q, s) => setTimeout(() => s.end('ok'), 100)).listen(process.argv[1])`.replaceAll('\n', ' ');

interface Sample {
  readonly second: number;
  readonly wanted: number;
  readonly ready: number;
  readonly inFlight: number;
}

export async function prove(): Promise<void> {
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: ${JSON.stringify(['node', '-e', WORKER, '{socket}'])}
    directory: ${FIXTURES}
    workers: { min: 1, max: 6, down_after: ${DOWN_AFTER} }
    concurrency: ${CONCURRENCY}
    # What comes before the workers do waits its turn.
    queue: { max: 10000, timeout: 60s }
`,
  });
  const over = new AbortController();
  const watched = watch(daemon, over.signal);
  // HTTP/2 has room for requests that wait: the rate is kept whatever the answers do. More connections ask at the same moments.
  const load = (seconds: number, rate: number): Promise<H2loadResult> =>
    h2load(daemon, { protocol: 'h2', connections: rate / 10, streams: 100, seconds, rate });
  const results = [await load(LOW_SECONDS, 10), await load(HIGH_SECONDS, 200), await load(END_SECONDS, 10)];
  over.abort();
  const samples = await watched;

  const started = LOW_SECONDS;
  const calm = started + HIGH_SECONDS;
  print(formatTable([['SECOND', 'WORKERS', 'READY', 'IN FLIGHT'], ...thin(samples).map(row)]));
  const changes = daemon
    .events('service_scaled')
    .map(({ time, from, to, reason }) => [time, from, to, reason].map(String));
  print(formatTable([['TIME', 'FROM', 'TO', 'WHY'], ...changes]));
  for (const [i, { requests, perSecond, bad }] of results.entries()) {
    print(`part ${i + 1}: ${requests} requests, ${perSecond.toFixed(1)}/s, ${bad} bad`);
    assert.equal(bad, 0, 'a request was lost');
  }
  const firstMore = samples.find(({ second, ready }) => second >= started && ready > 1);
  const enough = samples.find(({ second, ready }) => second >= started && ready >= 5);
  assert.ok(firstMore !== undefined && enough !== undefined, 'workers did not follow');
  print(
    `a second worker was ready ${(firstMore.second - started).toFixed(1)} s after the step, five ${(enough.second - started).toFixed(1)} s after it`,
  );
  // The last third of the high load.
  const settled = samples.filter(({ second }) => second > calm - HIGH_SECONDS / 3 && second < calm - 1);
  const used = settled.reduce((sum, { inFlight, ready }) => sum + inFlight / (ready * CONCURRENCY), 0) / settled.length;
  print(`settled at ${(used * 100).toFixed(0)} % of ${settled.at(-1)?.ready} workers`);
  assert.ok(used >= 0.5 && used <= 0.9, `${used} is outside 50 to 90 %`);
  const alone = samples.find(({ second, wanted }) => second > calm && wanted === 1);
  assert.ok(alone !== undefined, 'the workers did not go');
  print(`one worker again ${(alone.second - calm).toFixed(0)} s after the step down (down_after ${DOWN_AFTER})`);
  assert.ok(enough.second - started < 15, 'within seconds');
}

async function watch(daemon: Daemon, signal: AbortSignal): Promise<Sample[]> {
  const samples: Sample[] = [];
  const begun = performance.now();
  while (!signal.aborted) {
    const web: ServiceView | undefined = (await daemon.status()).services[0];
    assert.ok(web !== undefined);
    samples.push({
      second: (performance.now() - begun) / 1_000,
      wanted: web.workers.length,
      ready: web.workers.filter(({ state }) => state === 'ready').length,
      inFlight: web.workers.reduce((sum, worker) => sum + worker.in_flight, 0),
    });
    await sleep(500, signal);
  }
  return samples;
}

/** Each change, and some between. */
function thin(samples: readonly Sample[]): readonly Sample[] {
  return samples.filter(({ wanted, ready }, i) => {
    const before = samples[i - 1];
    return i % 20 === 0 || before?.wanted !== wanted || before.ready !== ready;
  });
}

function row({ second, wanted, ready, inFlight }: Sample): string[] {
  return [second.toFixed(1), ...[wanted, ready, inFlight].map(String)];
}
