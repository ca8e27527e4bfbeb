/** An app that cannot start, in full length: what it costs meanwhile, what visitors are told, and when it is back. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { cpuSeconds } from '../bench/usage.ts';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { FIXTURES, startDaemon, temporaryFolder } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { run } from '../support/processes.ts';

export const SUMMARY =
  'an app that cannot start is tried after 1, 2, 4 and 8 s, then once a minute, for little CPU and log; mended, it is back within a minute';

const WATCHED_MS = 60_000;
const CPU_SHARE = 0.02;
/** A retry may be a fifth later, and the worker takes its time to start. */
const BACK_MS = 60_000 * 1.2 + 5_000;

export async function prove(): Promise<void> {
  const folder = temporaryFolder();
  const app = path.join(folder, 'shared/app.mjs');
  const mended = path.join(folder, 'shared/mended');
  writeFileSync(
    app,
    `import fs from 'node:fs';\nif (!fs.existsSync('${mended}')) process.exit(3);\nawait import('${FIXTURES}/worker.mjs');\n`,
  );
  const config = `logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services: { web: { command: "node ${app} {socket}", directory: ${FIXTURES}, workers: 4, queue: { max: 0 } } }
`;
  await using daemon = await startDaemon({ config, folder, started: false });
  await eventually(async () => (await states(daemon)).includes('fatal'), { withinMs: 60_000 });
  const pauses = daemon.events('worker_exited').map(({ restart_in_ms: pause }) => pause);
  const [cpuBefore, linesBefore] = [cpuSeconds([daemon.pid]), lines(daemon)];
  await sleep(WATCHED_MS);
  const share = (cpuSeconds([daemon.pid]) - cpuBefore) / (WATCHED_MS / 1_000);
  const perSecond = (lines(daemon) - linesBefore) / (WATCHED_MS / 1_000);
  const { stdout: told } = await run('curl', ['-sSki', `${daemon.origin}/`]);
  writeFileSync(mended, '');
  const mendedAt = performance.now();
  await eventually(async () => (await states(daemon)).every((state) => state === 'ready'), { withinMs: 2 * BACK_MS });
  const backMs = performance.now() - mendedAt;
  print(
    formatTable([
      ['pauses', `${pauses.join(' ')} ms`],
      ['the control plane took', `${(share * 100).toFixed(2)} % of a core`],
      ['log lines', `${perSecond.toFixed(2)} a second`],
      ['visitors got', told.split('\r\n')[0] ?? ''],
      ['back, all four, after', `${Math.round(backMs)} ms`],
    ]),
  );
  assert.equal(pauses.length, 5);
  assert.match(told, /^HTTP\/\S+ 503[^]*\r\nretry-after: \d+/i);
  assert.ok(share < CPU_SHARE && perSecond <= 1 && backMs <= BACK_MS);
}

async function states(daemon: Daemon): Promise<readonly string[]> {
  return (await daemon.status()).services[0]?.workers.map(({ state }) => state) ?? [];
}

function lines(daemon: Daemon): number {
  return daemon.log().split('\n').length;
}
