/** `proxy logs`: what workers and the daemon wrote, told to whoever asks. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT, startDaemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';

const CONFIG = String.raw`
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: node worker.mjs {socket}
    directory: FIXTURES
    workers: 1
  clock:
    command:
      - sh
      - -c
      - while :; do printf 'tick \303\251 \033[31m\n'; sleep 0.2; done
    health_check: process
    workers: 1
`;

test('the last lines of one service, of all, and as JSON', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  await eventually(
    async () => {
      const { stdout } = await daemon.verb('logs', 'clock');
      assert.match(stdout, /^\d\d:\d\d:\d\d\.\d\d\d clock\/0\/g\d+ \| tick é/m);
      assert.doesNotMatch(stdout, /web|\u001b/);
      return true;
    },
    { withinMs: 10_000 },
  );
  const all = await daemon.verb('logs');
  assert.match(all.stdout, /worker_ready service=web/);
  const json = await daemon.verb('logs', 'clock', '--json', '--lines', '1');
  const event = JSON.parse(json.stdout) as Record<string, unknown>;
  assert.deepEqual([event['event'], event['service'], event['stream']], ['worker_output', 'clock', 'stdout']);
  const unknown = await daemon.verb('logs', 'wbe');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /there is no service "wbe"; there are: clock, web|web, clock/);
  const many = await daemon.verb('logs', '--lines', 'x');
  assert.deepEqual([many.code, many.stderr], [1, 'proxy: "lines" must be a number up to 10000 (bad_request)\n']);
});

test('who follows sees what comes, until the daemon ends', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const args = [path.join(ROOT, 'src/main.ts'), 'logs', '-f', '--lines', '0', '-c', daemon.file];
  const follower = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise((resolve) => follower.once('close', resolve));
  let seen = '';
  follower.stdout.setEncoding('utf8').on('data', (text: string) => (seen += text));
  follower.stderr.setEncoding('utf8').on('data', (text: string) => (seen += text));
  await eventually(() => (seen.match(/\| tick/g)?.length ?? 0) >= 3, { withinMs: 10_000 });
  daemon.child.kill('SIGTERM');
  assert.equal(await exited, 0);
  assert.match(seen, /stopping reason=SIGTERM/);
});
