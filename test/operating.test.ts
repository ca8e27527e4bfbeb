/** Pausing, stopping and starting services, and ending the daemon, by the command line. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { isRunning, run } from './support/processes.ts';

const config = (queue: string, command = 'node worker.mjs {socket}'): string => `
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: "${command}", directory: FIXTURES, workers: 2, queue: ${queue} }
`;

const ask = async (daemon: Daemon, target: string): Promise<string> => {
  const { stdout } = await run('curl', ['-sSk', '-w', '%{http_code}', `${daemon.origin}${target}`]);
  return stdout;
};

test('requests wait while a service is paused, and are answered when it goes on', async () => {
  await using daemon = await startDaemon({ config: config('{ max: 100, timeout: 60s }') });
  const before = (await daemon.status()).services[0]?.workers.map(({ pid }) => pid);
  const underWay = ask(daemon, '/slow?ms=3000');
  await eventually(
    async () => (await daemon.status()).services[0]?.workers.some((one) => one.in_flight === 1) === true,
    {
      withinMs: 5_000,
    },
  );
  const paused = await daemon.verb('pause', 'web', '--message', 'back at noon — é');
  assert.deepEqual([paused.code, paused.stdout], [0, 'web is paused: proxy resume web\n']);
  const waiting = Array.from({ length: 10 }, () => ask(daemon, '/status?code=200'));
  let answered = 0;
  for (const one of waiting) void one.then(() => answered++);
  assert.match(await underWay, /^slow undefined200$/);
  assert.equal(answered, 0);
  const resumed = await daemon.verb('resume', 'web');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set(['body200']));
  assert.deepEqual(
    (await daemon.status()).services[0]?.workers.map(({ pid }) => pid),
    before,
  );
});

test('a service that is paused for longer than its queue waits says why', async () => {
  await using daemon = await startDaemon({ config: config('{ max: 100, timeout: 200ms }') });
  await daemon.verb('pause', 'web', '--message', 'back at noon — é');
  const { stdout } = await run('curl', ['-sSki', `${daemon.origin}/`]);
  assert.match(stdout, /^HTTP\/2 503 \r\n/);
  assert.match(stdout, /retry-after: \d+/);
  assert.match(stdout, /\nback at noon — é\n/);
  const hostile = await daemon.verb('pause', 'web', '--message', 'a\nb');
  assert.equal(hostile.code, 1);
  assert.match(hostile.stderr, /must be one line of up to 200 characters/);
});

test('a stopped service has no workers and sends visitors away, until it is started', async () => {
  await using daemon = await startDaemon({ config: config('{ max: 100, timeout: 60s }') });
  const pids = (await daemon.status()).services[0]?.workers.map(({ pid }) => pid ?? 0) ?? [];
  const underWay = ask(daemon, '/slow?ms=3000');
  await eventually(
    async () => (await daemon.status()).services[0]?.workers.some((one) => one.in_flight === 1) === true,
    {
      withinMs: 5_000,
    },
  );
  const stopped = await daemon.verb('stop', 'web');
  assert.deepEqual([stopped.code, stopped.stdout], [0, 'web is stopped\n']);
  assert.match(await underWay, /200$/);
  assert.ok(pids.every((pid) => !isRunning(pid)));
  assert.match(await ask(daemon, '/'), /the service is stopped\n[^]*503$/);
  for (const verb of ['restart', 'scale', 'pause', 'resume']) {
    const { code, stderr } = await daemon.verb(verb, 'web', ...(verb === 'scale' ? ['3'] : []));
    assert.equal(code, 1, verb);
    assert.match(stderr, /it is stopped/, verb);
  }
  assert.equal((await daemon.verb('reload')).code, 0);
  assert.match(await ask(daemon, '/'), /503$/);
  const started = await daemon.verb('start', 'web');
  assert.deepEqual([started.code, started.stdout], [0, 'web is started\n']);
  assert.match(await ask(daemon, '/status?code=200'), /200$/);
  assert.equal((await daemon.verb('start', 'web')).code, 0);
});

test('a start that comes to nothing says so', async () => {
  await using daemon = await startDaemon({ config: config('{ max: 0 }', 'sh -c false'), started: false });
  await eventually(async () => (await daemon.verb('stop', 'web')).code === 0, { withinMs: 10_000 });
  const { code, stderr } = await daemon.verb('start', 'web');
  assert.equal(code, 1);
  assert.match(stderr, /exit code 1; it is tried again/);
});

test('proxy stop ends the daemon when its requests have ended', async () => {
  await using daemon = await startDaemon({ config: config('{ max: 0 }') });
  const underWay = ask(daemon, '/slow?ms=3000');
  await eventually(
    async () => (await daemon.status()).services[0]?.workers.some((one) => one.in_flight === 1) === true,
    {
      withinMs: 5_000,
    },
  );
  const { code, stdout } = await daemon.verb('stop');
  assert.deepEqual([code, stdout], [0, 'stopped\n']);
  assert.match(await underWay, /200$/);
  assert.equal(await daemon.exited, 0);
  const again = await daemon.verb('stop');
  assert.equal(again.code, 1);
  assert.match(again.stderr, /no daemon answers/);
});

test('verbs find the daemon while its file is broken', async () => {
  await using daemon = await startDaemon({ config: config('{ max: 0 }') });
  for (const text of [`runtime_directory: ${daemon.folder}/run\nsites: 5\n`, `runtime_directory: run\nsites: [{\n`]) {
    writeFileSync(daemon.file, text);
    const status = await daemon.verb('status');
    assert.equal(status.code, 0, status.stderr);
    const reload = await daemon.verb('reload');
    assert.equal(reload.code, 2);
    assert.match(reload.stderr, /nothing was changed/);
    assert.match(reload.stderr, /proxy\.yaml:[23]:\d+/);
    assert.match(await ask(daemon, '/status?code=200'), /200$/);
  }
});
