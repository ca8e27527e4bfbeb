/** A proxy after a million requests is as large as after the first of them, and holds no more files. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { openFiles, residentBytes, run } from '../support/processes.ts';

export const SUMMARY = 'a million requests of all kinds leave memory and open files as they were (REQUESTS=1000000)';

const REQUESTS = Number(process.env['REQUESTS'] ?? 1_000_000);
const ROUNDS = 10;
const ALLOWED_GROWTH = 1.2;
/** Of open files: connections to workers that stay for the next request. */
const STRAY = 10;
const MIB = 1024 * 1024;

const TARGETS = ['/', '/status?code=500', '/', '/status?code=404', '/', '/status?code=204'];
const KINDS: readonly (readonly [protocol: string, body: boolean])[] = [
  ['--h1', false],
  ['--h1', true],
  ['--npn-list=h2', false],
  ['--npn-list=h2', true],
];

/** Sends `count` by h2load, a third of them to be answered with errors; returns how many were answered, by class. */
async function send(daemon: Daemon, count: number, protocol: string, body: boolean): Promise<readonly number[]> {
  const post = body ? ['-d', path.join(daemon.folder, 'body')] : [];
  const urls = TARGETS.map((target) => daemon.origin + target);
  const load = ['-n', String(count), '-c', '16', '-t', '1', ...(protocol === '--h1' ? [] : ['-m', '8'])];
  const { stdout, code } = await run('h2load', [...load, protocol, ...post, ...urls]);
  const status = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(stdout)?.slice(1).map(Number) ?? [];
  const answered = status.reduce((sum, one) => sum + one, 0);
  if (code !== 0 || answered !== count || !/ 0 errored, 0 timeout/.test(stdout)) {
    throw new Error(`of ${count} requests by ${protocol} ${answered} were answered:\n${stdout}`);
  }
  return status;
}

export async function prove(): Promise<void> {
  await using daemon = await startDaemon({
    config: `proxy_processes: 2
logging: { access: { file: FOLDER/shared/access.log } }
sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`,
  });
  writeFileSync(path.join(daemon.folder, 'body'), 'x'.repeat(1_000));
  const pids = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
  const files = (): number => pids.reduce((sum, pid) => sum + openFiles(pid), 0);
  const rows = [['REQUESTS', 'MEMORY OF EACH PROXY', 'OPEN FILES', '2xx', '4xx', '5xx', 'A SECOND']];
  const memory: number[][] = [];
  let before = 0;
  let sent = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    const count = Math.floor(REQUESTS / ROUNDS / KINDS.length);
    const classes = [0, 0, 0, 0];
    for (const [protocol, body] of KINDS) {
      for (const [i, answered] of (await send(daemon, count, protocol, body)).entries()) {
        classes[i] = (classes[i] ?? 0) + answered;
      }
    }
    sent += count * KINDS.length;
    const rate = (count * KINDS.length) / ((performance.now() - started) / 1000);
    if (round === 0) before = files();
    else await eventually(() => files() <= before + STRAY).catch(() => {});
    const now = pids.map(residentBytes);
    memory.push(now);
    const [ok = 0, , refused = 0, failed = 0] = classes;
    const sizes = now.map((bytes) => `${Math.round(bytes / MIB)} MiB`).join(' ');
    rows.push([String(sent), sizes, String(files()), String(ok), String(refused), String(failed), rate.toFixed(0)]);
  }
  print(formatTable(rows));
  const [first = []] = memory;
  for (const [i, bytes] of (memory.at(-1) ?? []).entries()) {
    assert.ok(bytes < (first[i] ?? 0) * ALLOWED_GROWTH, `a proxy grew from ${first[i]} to ${bytes} bytes`);
  }
  assert.ok(files() <= before + STRAY, `${before} open files became ${files()}`);
}
