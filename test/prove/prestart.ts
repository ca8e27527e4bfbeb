/** Steps before the start that fail, with the delays they have. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { print } from '../../src/cli/terminal.ts';
import { startDaemon, temporaryFolder } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { run } from '../support/processes.ts';

export const SUMMARY =
  'a failing step is tried after 5, 10 and 20 s; at a first start then each minute, in a deploy the old release stays';

export async function prove(): Promise<void> {
  const folder = temporaryFolder();
  const allowed = path.join(folder, 'shared/allowed');
  const config = `sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: node worker.mjs {socket}
    directory: FIXTURES
    workers: 1
    queue: { max: 0 }
    prestart: [{ name: migrate, command: [sh, -c, 'echo no database; test -e ${allowed}'] }]
`;
  await using daemon = await startDaemon({ config, folder, started: false });
  const code = async (): Promise<string> => {
    const args = ['-sSk', '-o', path.join(folder, 'answer'), '-w', '%{http_code}', `${daemon.origin}/`];
    return (await run('curl', args)).stdout;
  };
  const attempts = (): readonly unknown[] => daemon.events('prestart_failed').map((event) => event['retry_in_ms']);
  await eventually(() => attempts().length === 4, { withinMs: 60_000 });
  assert.deepEqual(attempts(), [5_000, 10_000, 20_000, null]);
  assert.equal(await code(), '503');
  const failedAt = Date.now();
  writeFileSync(allowed, '');
  await eventually(async () => (await code()) === '200', { withinMs: 75_000, everyMs: 250 });
  const recoveredMs = Date.now() - failedAt;
  print(`first start: 4 attempts, 503, recovered by itself ${Math.round(recoveredMs / 1_000)} s after it was mended`);

  rmSync(allowed);
  const before = (await daemon.status()).services[0];
  const begun = Date.now();
  const { code: exit, stderr } = await daemon.verb('deploy', 'web');
  const after = (await daemon.status()).services[0];
  assert.equal(exit, 1);
  assert.match(stderr, /the step migrate before the start failed: exit code 1; release \S+ goes on/);
  assert.match(stderr, /no database/);
  assert.deepEqual(after?.release, before?.release);
  assert.deepEqual(
    after?.workers.map(({ pid }) => pid),
    before?.workers.map(({ pid }) => pid),
  );
  assert.equal(await code(), '200');
  print(`deploy: exit ${exit} after ${Math.round((Date.now() - begun) / 1_000)} s: ${stderr.split('\n')[0]}`);
  rmSync(folder, { recursive: true, force: true });
}
