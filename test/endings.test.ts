/** How the whole ends by its signals, also as the first process of a PID namespace, as in a container. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon, DaemonOptions } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { childrenOf, processesWith, run } from './support/processes.ts';
import { callDaemon } from '../src/cli/admin_client.ts';
import { sleep } from '../src/lifecycle.ts';

/** Each of the tests names its processes by one. */
let marks = 0;

interface Streaming extends AsyncDisposable {
  readonly daemon: Daemon;
  /** The daemon, where it is wrapped. */
  readonly pid: number;
  readonly marked: () => readonly number[];
}

/** uvicorn behind it, with an event stream open that never ends by itself. */
async function startStreaming(graceMs: number, wrapper: DaemonOptions['wrapper'] = []): Promise<Streaming> {
  const mark = `ending-${process.pid}-${marks++}`;
  const daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: api }]
services:
  api:
    command: /usr/bin/python3 -m uvicorn fastapi_app:app --no-access-log --uds {socket}
    directory: FIXTURES
    workers: 2
    env: { PYTHONDONTWRITEBYTECODE: 1, MARK: ${mark} }
shutdown: { grace_period: ${graceMs}ms }
`,
    wrapper,
  });
  const client = spawn('curl', ['-sSkN', `${daemon.origin}/events`], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(client.stdout, 'data');
  return {
    daemon,
    pid: wrapper.length === 0 ? daemon.pid : (childrenOf(daemon.pid)[0] ?? 0),
    marked: () => processesWith('MARK', mark),
    [Symbol.asyncDispose]: async () => {
      client.kill('SIGKILL');
      await daemon[Symbol.asyncDispose]();
    },
  };
}

async function endsWithin(daemon: Daemon, withinMs: number): Promise<number | null> {
  const late = Symbol('late');
  const code = await Promise.race([daemon.exited, sleep(withinMs).then(() => late)]);
  assert.notEqual(code, late, `not within ${withinMs} ms; its log:\n${daemon.log().slice(-4_000)}`);
  return typeof code === 'number' ? code : null;
}

/** Of a signal that a busy machine delivers late, and of a process that ends. */
const MARGIN_MS = 1_500;

for (const [how, wrapper, skip] of [
  ['', [], false],
  [', as PID 1', pidNamespace(), pidNamespaceProblem()],
] as const) {
  test(`TERM with an event stream of uvicorn open ends it within the grace period${how}`, { skip }, async () => {
    const graceMs = 6_000;
    await using streaming = await startStreaming(graceMs, wrapper);
    assert.ok(streaming.marked().length >= 2);
    process.kill(streaming.pid, 'SIGTERM');
    assert.equal(await endsWithin(streaming.daemon, graceMs + MARGIN_MS), 0);
    assert.deepEqual(streaming.marked(), []);
  });

  test(`a second TERM with an event stream open ends it within 3 s${how}`, { skip }, async () => {
    await using streaming = await startStreaming(25_000, wrapper);
    process.kill(streaming.pid, 'SIGTERM');
    await eventually(() => streaming.daemon.events('stopping').length === 1);
    // Within a moment it would be the same Ctrl-C.
    await sleep(400);
    process.kill(streaming.pid, 'SIGTERM');
    await endsWithin(streaming.daemon, 3_000);
    await eventually(() => streaming.marked().length === 0, { withinMs: 2_000 });
  });

  test(`QUIT ends it at once${how}`, { skip }, async () => {
    await using streaming = await startStreaming(25_000, wrapper);
    process.kill(streaming.pid, 'SIGQUIT');
    assert.equal(await endsWithin(streaming.daemon, 3_000), 0);
    await eventually(() => streaming.marked().length === 0, { withinMs: 2_000 });
  });
}

test('as PID 1 it says that nobody buries orphans, and counts them', { skip: pidNamespaceProblem() }, async () => {
  // The orphan ends when the shell, its new parent, has become the daemon.
  await using streaming = await startStreaming(2_000, [
    ...pidNamespace(),
    'sh',
    '-c',
    '(sleep 0.05 &); exec "$@"',
    'sh',
  ]);
  const { daemon } = streaming;
  assert.match(JSON.stringify(daemon.events('no_init')), /--init/);
  assert.deepEqual(
    daemon.events('zombies').map(({ count }) => count),
    [1],
  );
  const status = await callDaemon(`${daemon.folder}/run/admin.sock`, 'GET', '/v1/status');
  assert.match(JSON.stringify(status), /"zombies":1/);
  assert.match((await daemon.verb('status')).stdout, /1 zombie/);
  // Reloads and reopened logs go on as everywhere.
  process.kill(streaming.pid, 'SIGHUP');
  process.kill(streaming.pid, 'SIGUSR1');
  await eventually(() => daemon.events('reloaded').length === 1 && daemon.events('logs_reopened').length === 1);
  const { stdout } = await run('curl', ['-sSk', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}/who`]);
  assert.equal(stdout, '200');
});

function pidNamespace(): readonly string[] {
  return ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
}

function pidNamespaceProblem(): string | false {
  const [command = '', ...args] = pidNamespace();
  return spawnSync(command, [...args, 'true']).status === 0 ? false : 'PID namespaces are not allowed here';
}
