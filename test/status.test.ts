/** `proxy status` of a running daemon: in a pipe, on a terminal, and watched. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT, RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { onTerminal } from './support/terminal.ts';

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({ config: `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}` });
});
after(async () => daemon[Symbol.asyncDispose]());

function verbOnTerminal(words: string, env: Readonly<Record<string, string>> = {}) {
  return onTerminal(`${process.execPath} ${path.join(ROOT, 'src/main.ts')} ${words} -c ${daemon.file}`, { env });
}

test('in a pipe it has no colours and all there is', async () => {
  await run('curl', ['-sk', `${daemon.origin}/`]);
  await eventually(async () => /web +up +2 of 2 +\d+\.\d/.test((await daemon.verb('status')).stdout), {
    withinMs: 15_000,
  });
  const { stdout } = await daemon.verb('status');
  assert.doesNotMatch(stdout, /\u001b|What is wrong/);
  assert.match(stdout, /^machine: \d+(\.\d+)? CPUs .*memory \d+ % of .*disk \d+ % of /m);
  assert.match(stdout, /^web\/1\/g\d+ +ready +\d+ +\d+s +0 +\d+ MiB +/m);
  assert.match(stdout, /^localhost +\S+ +89d 23h +renewed in /m);
  const { reload, services } = JSON.parse((await daemon.verb('status', '--json')).stdout) as Record<string, unknown>;
  assert.deepEqual(Object.keys(reload as object), ['done', 'refused', 'last_ok', 'last_ok_at', 'problem']);
  assert.deepEqual(
    (services as { traffic: Record<string, unknown> }[]).map(({ traffic }) => Object.keys(traffic)),
    [['requests_per_second', 'errors_per_second', 'p50_ms', 'p95_ms', 'p99_ms', 'queued', 'in_flight']],
  );
});

test('on a terminal it has colours, unless they are not wanted', async () => {
  const coloured = verbOnTerminal('status');
  assert.equal(await coloured.exited, 0);
  assert.match(coloured.seen(), /\u001b\[32mup\u001b\[0m/);
  const plain = verbOnTerminal('status', { NO_COLOR: '1' });
  assert.equal(await plain.exited, 0);
  assert.match(plain.seen(), /web +up/);
  assert.doesNotMatch(plain.seen(), /\u001b/);
});

test('--watch draws again and again, and leaves the terminal as it was', async () => {
  const watched = verbOnTerminal('status --watch');
  await eventually(() => watched.seen().split('\u001b[H').length > 3, { withinMs: 15_000 });
  assert.match(watched.seen(), /^\u001b\[\?1049h\u001b\[\?25l/);
  watched.child.stdin.write('q');
  assert.equal(await watched.exited, 0);
  assert.match(watched.seen(), /\u001b\[\?25h\u001b\[\?1049l$/);
  const piped = await daemon.verb('status', '--watch');
  assert.equal(piped.code, 1);
  assert.match(piped.stderr, /--watch is for a terminal/);
});
