/** Thousands of idle connections: what each costs, that others are served, and that they end when they should. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { gather } from '../support/crowd.ts';
import type { Crowd } from '../support/crowd.ts';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { openFiles, residentBytes } from '../support/processes.ts';
import { steadyLoad } from '../support/steady_load.ts';

export const SUMMARY =
  'idle TLS connections, half of them HTTP/2, are cheap, delay nobody and end by their clock (CONNECTIONS=10000 IDLE_SECONDS=150)';

const CONNECTIONS = Number(process.env['CONNECTIONS'] ?? 10_000);
const IDLE_SECONDS = Number(process.env['IDLE_SECONDS'] ?? 150);
const ARRIVALS = 250;
const SLACK_MS = 6_000;
const ALLOWED_EACH = 100 * 1024;
const ALLOWED_P99_MS = 50;
/** Of what the first crowd took, for a second one after it: the C library keeps what was freed, in pieces that do not all fit. */
const ALLOWED_AGAIN = 0.5;
const STRAY = 20;
const MIB = 1024 * 1024;

export async function prove(): Promise<void> {
  await using daemon = await startDaemon({
    config: `proxy_processes: 2
logging: { access: false }
sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`,
    entrypoint: `max_connections: ${2 * CONNECTIONS}, timeouts: { idle: ${IDLE_SECONDS}s }`,
  });
  const pids = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
  const resident = (): number => pids.reduce((sum, pid) => sum + residentBytes(pid), 0);
  const files = (): number => pids.reduce((sum, pid) => sum + openFiles(pid), 0);
  using crowds = new DisposableStack();
  const come = async (): Promise<readonly Crowd[]> => {
    const half = Math.floor(CONNECTIONS / 2);
    const both = [
      crowds.use(gather(daemon, 'idle', CONNECTIONS - half, { perSecond: ARRIVALS / 2 })),
      crowds.use(gather(daemon, 'idle_http2', half, { perSecond: ARRIVALS / 2 })),
    ];
    await Promise.all(both.map((crowd) => crowd.gathered(IDLE_SECONDS * 1_000)));
    return both;
  };
  const gone = (crowd: Crowd): number => crowd.report().gone + crowd.report().failed;

  // Not counted: code is compiled, connections to the workers are opened.
  await steadyLoad(daemon, 100, 10);
  const quiet = await steadyLoad(daemon, 50, 10);
  const before = { bytes: resident(), files: files() };
  const first = await come();
  const held = resident();
  const others = await steadyLoad(daemon, 50, 20);
  const lost = first.reduce((sum, crowd) => sum + gone(crowd), 0);
  const most = files() - before.files;
  await Promise.all(first.map((crowd) => crowd.gone(IDLE_SECONDS * 2_000)));
  const lived = first.flatMap((crowd) => crowd.report().livedMs);
  await eventually(() => files() <= before.files + STRAY);
  const after = resident();
  const second = await come();
  const again = resident();
  const each = (held - before.bytes) / CONNECTIONS;

  const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  print(
    formatTable([
      ['idle connections', `${most}, half of them HTTP/2`],
      ['memory of both proxies before', mib(before.bytes)],
      ['with them', mib(held)],
      ['each', `${Math.round(each / 1024)} KiB, may be ${ALLOWED_EACH / 1024} KiB`],
      ['p99 of others while it is quiet', `${quiet.p99Ms.toFixed(1)} ms`],
      ['beside them', `${others.p99Ms.toFixed(1)} ms, may be ${ALLOWED_P99_MS} ms`],
      ['lived', `${seconds(Math.min(...lived))} to ${seconds(Math.max(...lived))}, their clock ${IDLE_SECONDS} s`],
      ['memory after they went', mib(after)],
      ['with as many again', mib(again)],
    ]),
  );
  assert.equal(lost, 0, 'some were not there to be counted');
  assert.ok(most >= CONNECTIONS - STRAY, `only ${most} were held`);
  assert.equal(others.failed, 0);
  assert.ok(each <= ALLOWED_EACH, 'each is too large');
  assert.ok(others.p99Ms < ALLOWED_P99_MS, 'others waited');
  assert.ok(Math.max(...lived) < IDLE_SECONDS * 1_000 + SLACK_MS, 'the clock was late');
  assert.equal(
    second.reduce((sum, crowd) => sum + gone(crowd), 0),
    0,
  );
  assert.ok(again - after < (held - before.bytes) * ALLOWED_AGAIN, 'memory was not used again');
}
