/** An app that leaks, under a soft limit: its workers are replaced before they matter to anybody. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { startDaemon } from '../support/daemon.ts';
import { faultsOf, sendAccounted } from '../support/load.ts';
import { residentBytes } from '../support/processes.ts';

export const SUMMARY =
  'an app that leaks 2 MB a request is replaced worker by worker, and no request fails (SECONDS=600 RECYCLES=20)';

const LEAK = 2 * 1024 * 1024;
const SOFT_MIB = 250;
const MIB = 1024 * 1024;
/** Each asks three times a second. */
const CONNECTIONS = 8;

export async function prove(): Promise<void> {
  const seconds = Number(process.env['SECONDS'] ?? 600);
  const wanted = Number(process.env['RECYCLES'] ?? 20);
  await using daemon = await startDaemon({
    config: `logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: /usr/bin/python3 -m uvicorn recording_app:app --no-access-log
    directory: FIXTURES
    workers: 2
    memory: { soft: ${SOFT_MIB}MiB }
    env: { RECORD: FOLDER/shared/executed, PYTHONDONTWRITEBYTECODE: 1 }
`,
  });
  const over = new AbortController();
  const load = sendAccounted(daemon, {
    methods: ['GET', 'POST'],
    connections: CONNECTIONS,
    signal: over.signal,
    path: `/?leak=${LEAK}&ms=330`,
  });
  const deadline = performance.now() + seconds * 1_000;
  let most = 0;
  while (performance.now() < deadline) {
    await sleep(500);
    const pids = (await daemon.status()).services[0]?.workers.flatMap(({ pid }) => pid ?? []) ?? [];
    for (const pid of pids) {
      try {
        most = Math.max(most, residentBytes(pid));
      } catch {
        // It has just ended.
      }
    }
  }
  over.abort();
  const account = await load;
  const recycles = daemon.events('worker_recycled').filter(({ reason }) => reason === 'memory').length;
  const bad = account.answers.filter(({ status }) => status !== 200);
  print(
    formatTable([
      ['workers replaced', `${recycles} in ${seconds} s`],
      ['requests', `${account.answers.length}, ${(account.answers.length * LEAK) / MIB} MiB leaked`],
      ['not answered with 200', String(bad.length)],
      ['the most a worker had', `${Math.round(most / MIB)} MiB, its soft limit ${SOFT_MIB}`],
    ]),
  );
  assert.deepEqual(bad.slice(0, 10), []);
  assert.deepEqual(faultsOf(account).slice(0, 10), []);
  assert.deepEqual(daemon.events('worker_exited'), []);
  assert.ok(recycles >= wanted, `${recycles} of ${wanted}`);
}
