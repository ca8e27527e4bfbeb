/** An hour of ordinary load with every kind of trouble once a minute: nothing is lost, and nothing grows. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { RECORDING_SERVICE, startDaemon, writeConfig } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { grownBy, watchGrowth } from '../support/growth.ts';
import { createAccountedClient, faultsOf, readExecutions } from '../support/load.ts';
import { paceLoad } from '../support/paced_load.ts';
import { connectRaw } from '../support/raw.ts';

export const SUMMARY =
  'an hour of load; each minute a worker killed, uploads broken off, a reload; workers that close idle connections: every request accounted for, no growth (MINUTES=60)';

const PER_SECOND = 150;
const MINUTE_MS = 60_000;
const BROKEN_UPLOADS = 10;
const MIB = 1024 * 1024;
/** Of one process, in the last third of the time above those before: a garbage collector's mood, not a leak of 150 requests a second. */
const ALLOWED_GROWTH = 6 * MIB;
const ALLOWED_FILES = 20;

const config = (minute: number): string => `logging: { access: false }
sites: [{ hosts: [localhost], service: web, headers: { response: { set: { X-Minute: "${minute}" } } } }]${RECORDING_SERVICE.replace(
  'workers: 2',
  'workers: 4',
).replace('env: {', 'env: { BEHAVIOUR: close-idle,')}`;

export async function prove(): Promise<void> {
  const minutes = Number(process.env['MINUTES'] ?? 60);
  await using daemon = await startDaemon({ config: config(0) });
  using client = createAccountedClient(daemon, 64);
  const over = new AbortController();
  const growth = watchGrowth(daemon, over.signal, 2_000);
  const load = paceLoad(client, PER_SECOND);
  for (let minute = 1; minute <= minutes; minute++) {
    const begun = performance.now();
    await sleep(MINUTE_MS / 4);
    await killOne(daemon, minute);
    await sleep(MINUTE_MS / 4);
    await breakUploadsOff(daemon);
    await sleep(MINUTE_MS / 4);
    writeConfig(daemon.folder, daemon.ports, config(minute));
    const { code, stderr } = await daemon.verb('reload');
    assert.equal(code, 0, stderr);
    await sleep(Math.max(0, MINUTE_MS - (performance.now() - begun)));
  }
  over.abort();
  await load.stop();
  const account = { answers: load.answers, executions: readExecutions(daemon) };
  const faults = faultsOf(account);
  const count = (status: number): number => load.answers.filter((answer) => answer.status === status).length;
  const processes = await growth;
  const means = (values: readonly number[], unit: number): string =>
    values.map((value) => (value / unit).toFixed(1)).join(' ');
  print(
    formatTable([
      ['sent', `${load.sent} in ${minutes} min`],
      ['answered 200', String(count(200))],
      ['answered 502', `${count(502)}, all of them POSTs`],
      ['faults', String(faults.length)],
      ['proxies that ended', String(daemon.events('proxy_exited').length)],
      ...processes.map(({ name, memory }) => [`MiB of ${name} in each third`, means(memory, MIB)]),
      ...processes.map(({ name, files }) => [`open files of ${name}`, means(files, 1)]),
    ]),
  );
  assert.deepEqual(faults.slice(0, 10), []);
  assert.equal(count(200) + count(502), load.sent);
  assert.deepEqual(daemon.events('proxy_exited'), []);
  assert.ok(load.sent > minutes * PER_SECOND * 50);
  for (const { name, memory, files } of processes) {
    assert.ok(grownBy(memory) < ALLOWED_GROWTH, `${name} grew by ${grownBy(memory) / MIB} MiB`);
    assert.ok(grownBy(files) < ALLOWED_FILES, `${name} has ${grownBy(files)} more files open`);
  }
}

async function killOne(daemon: Daemon, turn: number): Promise<void> {
  const workers = (await daemon.status()).services[0]?.workers ?? [];
  const victim = workers[turn % workers.length];
  assert.equal(victim?.state, 'ready');
  process.kill(victim.pid ?? 0, 'SIGKILL');
}

async function breakUploadsOff(daemon: Daemon): Promise<void> {
  for (let i = 0; i < BROKEN_UPLOADS; i++) {
    using client = await connectRaw(daemon);
    client.send(`POST /whole HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx`);
    await sleep(50);
  }
}
