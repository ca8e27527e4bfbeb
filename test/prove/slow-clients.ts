/** Clients that mean to hold what they can: each is let go by its clock, and nobody else waits for them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { gather } from '../support/crowd.ts';
import type { Crowd, Manner } from '../support/crowd.ts';
import { RECORDING_SERVICE, startDaemon, writeConfig } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { isOwnNetwork, repeatInOwnNetwork } from '../support/own_network.ts';
import { openFiles, residentBytes, run, watchMemory } from '../support/processes.ts';
import { steadyLoad } from '../support/steady_load.ts';
import type { SteadyResult } from '../support/steady_load.ts';

export const SUMMARY =
  'slow, silent and stalling clients are let go by their clocks while others are served (CONNECTIONS=1000 CROWD=2000 SECONDS_EACH=60)';

const CONNECTIONS = Number(process.env['CONNECTIONS'] ?? 1_000);
const CROWD = Number(process.env['CROWD'] ?? 2_000);
const SECONDS = Number(process.env['SECONDS_EACH'] ?? 60);
/** Where the kernel's buffers for slow readers are not ours to limit, more of these would starve the machine of them. */
const MAX_READERS_IN_SHARED_NETWORK = 200;
const KIB = 1024;
const MIB = 1024 * KIB;

/** How late a clock may be: half a second of sweep, two of lingering, and a busy machine. */
const SLACK_MS = 4_000;
/** The clocks of an operator who expects attacks. */
const ATTACKED_MS = 15_000;
/** What a connection of HTTP/2 has after its one answer was given up. */
const IDLE_MS = 10_000;
/** Ordinary load, in requests a second: so little that there is time for it however busy the crowd's own processes are. */
const RATE = 50;
const MAX_SLOWDOWN = 3;
/** Of each crowd, in a second. */
const ARRIVALS = 100;
/** Of open files: connections of others that come and go. */
const STRAY = 20;
/** A rate is measured over five seconds at a time, and the first began before the limit. */
const MIN_RATE_MS = 10_000;

/**
 * What one slow reader may cost: of its answer one read of 64 KiB is on its way, encrypted, and one waits; over HTTP/2 256 KiB
 * wait for the connection and 64 KiB for the stream. TLS, sockets and objects of the two connections take the rest.
 */
const CONNECTIONS_OF_ONE = 96 * KIB;
const PER_READER = 2 * 64 * KIB + CONNECTIONS_OF_ONE;
const PER_READER_HTTP2 = (64 + 256 + 64) * KIB + CONNECTIONS_OF_ONE;
/** A connection of TLS with some bytes of a head. */
const PER_SLOWLORIS = 100 * KIB;

const SITES = `sites: [{ hosts: [localhost, 127.0.0.1], service: web }]
logging: { access: false }
proxy_processes: 2${RECORDING_SERVICE}`;

export async function prove(): Promise<void> {
  if (!isOwnNetwork()) {
    const code = repeatInOwnNetwork();
    if (code === 0) return;
    if (code !== null) throw new Error('not as it must be: see above');
    print('This needs root for a network of its own; without one there are fewer slow readers.\n');
  }
  await slowHttpTest();
  await clocks();
  await nobodyElseWaits();
}

/** Debian's slowhttptest, against short clocks and a minimum rate. */
async function slowHttpTest(): Promise<void> {
  const clock = `${ATTACKED_MS}ms`;
  await using daemon = await startDaemon({
    config: SITES,
    entrypoint: `min_rate: 1KiB, timeouts: { headers: ${clock}, body_idle: ${clock}, write_idle: ${clock}, idle: ${clock} }`,
  });
  const files = filesOf(await proxiesOf(daemon));
  const idle = files();
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-slowhttptest-'));
  const rows = [['slowhttptest', 'MOST AT ONCE', 'ARRIVED IN', 'ALL LET GO AFTER', 'WENT ON FOR', 'SERVICE AVAILABLE']];
  const problems: string[] = [];
  try {
    for (const [flag, title, target, more] of [
      ['-H', 'slow headers', '/', []],
      ['-B', 'slow body', '/echo', ['-s', '8192']],
      ['-X', 'slow read', '/bytes?size=10000000', ['-w', '512', '-y', '1024', '-n', '5', '-z', '32']],
    ] as const) {
      const report = path.join(folder, flag);
      // By address: it names no server in its handshake.
      const url = `https://127.0.0.1:${daemon.ports.https}${target}`;
      const pace = ['-c', String(CONNECTIONS), '-r', '200', '-l', String(SECONDS), '-i', '5', '-p', '3'];
      const started = performance.now();
      const over = new AbortController();
      const finished = run('slowhttptest', [flag, ...pace, ...more, '-u', url, '-g', '-o', report]);
      void finished.finally(() => over.abort());
      // Seen from here: the tool takes a connection for open as long as it has not read all that came before its end.
      let heldMs = 0;
      while (!over.signal.aborted) {
        if (files() > idle + STRAY) heldMs = performance.now() - started;
        await sleep(200, over.signal);
      }
      const { stdout } = await finished;
      const lines = readFileSync(`${report}.csv`, 'utf8').trim().split('\n').slice(1);
      const samples = lines.map((line) => line.split(',').map(Number));
      const most = Math.max(...samples.map((columns) => columns[3] ?? 0));
      const unavailable = samples.filter((columns) => columns[4] === 0).length;
      const [lasted = 0, closed = 0, , connected = 0] = samples.at(-1) ?? [];
      const [arrived = 0] = samples.findLast((columns) => (columns[2] ?? 0) > 0) ?? [];
      const available = unavailable === 0 ? 'YES' : 'NO';
      rows.push([title, String(most), `${arrived} s`, seconds(heldMs), `${lasted} s`, available]);
      if (heldMs > arrived * 1000 + ATTACKED_MS + SLACK_MS) problems.push(`${title}: held for ${seconds(heldMs)}`);
      if (unavailable > 0) problems.push(`${title}: unavailable in ${unavailable} seconds of ${lasted}`);
      if (closed + connected < CONNECTIONS)
        problems.push(`${title}: only ${closed + connected} came\n${stdout.slice(-1_000)}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  print(
    `${CONNECTIONS} connections each, clocks of ${seconds(ATTACKED_MS)}, 1 KiB a second at least\n${formatTable(rows)}\n`,
  );
  assert.deepEqual(problems, []);
}

async function proxiesOf(daemon: Daemon): Promise<number[]> {
  return (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
}

function filesOf(pids: readonly number[]): () => number {
  return () => pids.reduce((sum, pid) => sum + openFiles(pid), 0);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Connections that say less than a request, against the documented clocks. */
async function clocks(): Promise<void> {
  await using daemon = await startDaemon({ config: SITES });
  const pids = await proxiesOf(daemon);
  const files = filesOf(pids);
  const idle = files();
  const rows = [['', 'CONNECTIONS', 'CLOSED AFTER', 'MUST', 'OTHERS p99']];
  const problems: string[] = [];
  for (const [manner, title, clockMs] of [
    ['silent', 'TCP without TLS', 10_000],
    ['preface', 'HTTP/2 preface only', 30_000],
  ] as const) {
    using crowd = gather(daemon, manner, CONNECTIONS, { perSecond: 250 });
    const others = steadyLoad(daemon, RATE, clockMs / 1000);
    await crowd.gathered(60_000);
    await crowd.gone(clockMs + SLACK_MS + 30_000);
    const { failed, livedMs } = crowd.report();
    const { p99Ms, failed: unserved } = await others;
    const range = `${seconds(Math.min(...livedMs))} to ${seconds(Math.max(...livedMs))}`;
    rows.push([title, String(livedMs.length), range, seconds(clockMs), `${p99Ms.toFixed(1)} ms`]);
    if (failed > 0) problems.push(`${title}: ${failed} never came that far`);
    if (Math.max(...livedMs) > clockMs + SLACK_MS) problems.push(`${title}: lived ${range}`);
    if (unserved > 0) problems.push(`${title}: ${unserved} requests of others failed`);
  }
  await eventually(() => files() <= idle + STRAY);
  print(`the clocks as documented\n${formatTable(rows)}\n`);
  assert.deepEqual(problems, []);
}

/**
 * A head that comes byte by byte, answers that are hardly read: thousands of them, a minute long, beside ordinary load. Who
 * reads too slowly to be stalled is only ended by a minimum rate: it is set while they are there.
 */
async function nobodyElseWaits(): Promise<void> {
  const readers = isOwnNetwork() ? CROWD : Math.min(CROWD, MAX_READERS_IN_SHARED_NETWORK);
  const arrivalSeconds = Math.ceil(CROWD / ARRIVALS);
  const clockMs = (2 * arrivalSeconds + SECONDS) * 1000;
  const timeouts = `timeouts: { headers: ${clockMs / 1000}s, write_idle: ${clockMs / 1000}s, idle: ${IDLE_MS}ms }`;
  await using daemon = await startDaemon({ config: SITES, entrypoint: timeouts });
  const pids = await proxiesOf(daemon);
  const resident = (): number => pids.reduce((sum, pid) => sum + residentBytes(pid), 0);
  const files = filesOf(pids);
  await steadyLoad(daemon, RATE, 5);
  const quiet = await steadyLoad(daemon, RATE, Math.ceil(SECONDS / 2));
  const before = { bytes: resident(), files: files() };
  using memory = watchMemory(pids);

  const arrival = steadyLoad(daemon, RATE, arrivalSeconds);
  using crowds = new DisposableStack();
  const come = (manner: Manner, count: number): Crowd =>
    crowds.use(gather(daemon, manner, count, { perSecond: (ARRIVALS * count) / CROWD, processes: 1 }));
  const quarter = Math.floor(readers / 4);
  const slowloris = come('slowloris', CROWD);
  const shut = come('shut_window', quarter);
  const sipping = [come('slow_reader', readers - 2 * quarter), come('slow_reader_http2', quarter)];
  const all = [slowloris, shut, ...sipping];
  await Promise.all(all.map((crowd) => crowd.gathered(clockMs)));
  const arriving = await arrival;
  const crowded = await steadyLoad(daemon, RATE, SECONDS);
  const here = files() - before.files;
  const peak = memory.peakBytes() - before.bytes;

  const limited = performance.now();
  writeConfig(daemon.folder, daemon.ports, SITES, `min_rate: 64KiB, ${timeouts}`);
  assert.equal((await daemon.verb('reload')).code, 0);
  // Each has a worker's connection too.
  const sips = 2 * (readers - quarter);
  await eventually(() => files() - before.files <= here - sips + STRAY, { withinMs: 60_000 });
  const sippedMs = performance.now() - limited;
  await Promise.all([slowloris.gone(clockMs), shut.gone(clockMs)]);
  await eventually(() => files() <= before.files + STRAY);
  memory.stop();
  const after = await steadyLoad(daemon, RATE, 10);

  const lived = (crowd: Crowd): number => Math.max(...crowd.report().livedMs);
  const failed = all.reduce((sum, crowd) => sum + crowd.report().failed, 0);
  const unserved = [quiet, arriving, crowded, after].reduce((sum, one) => sum + one.failed, 0);
  const allowed = CROWD * PER_SLOWLORIS + (readers - 2 * quarter) * PER_READER + 2 * quarter * PER_READER_HTTP2;
  const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;
  const ordinary = ({ requests, p50Ms, p99Ms, maxMs }: SteadyResult): string =>
    `${requests} requests, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, most ${maxMs.toFixed(0)} ms`;
  print(
    formatTable([
      ['heads byte by byte', String(CROWD)],
      ['slow readers', `${readers}, a quarter each HTTP/2 and HTTP/2 with its window shut`],
      [
        'clocks of a head and of a stalled answer',
        `${seconds(clockMs)}, of a connection behind it ${seconds(IDLE_MS)}`,
      ],
      ['others while it is quiet', ordinary(quiet)],
      ['others while they come', ordinary(arriving)],
      ['others while they are there', ordinary(crowded)],
      ['others afterwards', ordinary(after)],
      ['others without an answer', String(unserved)],
      ['heads were let go after at most', seconds(lived(slowloris))],
      ['shut windows were let go after at most', seconds(lived(shut))],
      ['readers were let go by a minimum rate after', seconds(sippedMs)],
      ['memory of both proxies before', mib(before.bytes)],
      ['growth at its peak', `${mib(peak)}, may be ${mib(allowed)}`],
      ['memory of both proxies afterwards', mib(resident())],
    ]),
  );
  assert.equal(failed, 0);
  assert.equal(unserved, 0);
  assert.ok(here >= CROWD + 2 * readers - STRAY, `only ${here} connections were held`);
  assert.ok(crowded.p99Ms < MAX_SLOWDOWN * quiet.p99Ms, 'others waited');
  assert.ok(peak < allowed, 'too much memory was held');
  assert.ok(lived(slowloris) < clockMs + SLACK_MS, 'the clock of heads was late');
  assert.ok(lived(shut) < clockMs + IDLE_MS + SLACK_MS, 'the clock of stalled answers was late');
  assert.ok(sippedMs < MIN_RATE_MS + SLACK_MS, 'the minimum rate was late');
}
