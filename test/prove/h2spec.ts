/** The public conformance suite of HTTP/2, where it is installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { print } from '../../src/cli/terminal.ts';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import { run } from '../support/processes.ts';

export const SUMMARY = 'h2spec: HTTP/2 as its public suite tests it, if h2spec is there';

/** What nghttp2 takes more kindly than it might, by its section; none of it is within our reach. */
const KINDNESSES = 9;
const PASSED = 136;

export async function prove(): Promise<void> {
  if (spawnSync('which', ['h2spec']).status !== 0) return print('h2spec is not installed: nothing was run');
  await using daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]\n${RECORDING_SERVICE}`,
  });
  const { stdout } = await run('h2spec', ['-t', '-k', '-h', 'localhost', '-p', String(daemon.ports.https)]);
  print(stdout);
  const [, passed = '0', failed = '0'] = /(\d+) passed, \d+ skipped, (\d+) failed/.exec(stdout) ?? [];
  assert.ok(Number(passed) >= PASSED && Number(failed) <= KINDNESSES, `${passed} passed, ${failed} failed`);
}
