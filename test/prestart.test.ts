/** Steps before the start and releases, with a running daemon: once each, and never in the way of what serves. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startDaemon, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Daemon, ServiceView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { isRunning, processesWith, run } from './support/processes.ts';

const SITE = 'sites: [{ hosts: [localhost], service: web }]';

/** A step that adds a line to `shared/steps`, with `more` after it. */
function migration(more = ''): string {
  return `{ name: migrate, command: [sh, -c, 'echo "$PROXY_WORKER" >> FOLDER/shared/steps${more}'] }`;
}

function service(more: string, command = 'node worker.mjs {socket}', directory = 'FIXTURES'): string {
  return `${SITE}
services:
  web:
    command: ${JSON.stringify(command)}
    directory: ${directory}
    ${more}
`;
}

async function view(daemon: Daemon): Promise<ServiceView> {
  return (await daemon.status()).services[0] ?? assert.fail('there is no service');
}

async function get(daemon: Daemon): Promise<string> {
  return (await run('curl', ['-sSki', '--max-time', '20', `${daemon.origin}/`])).stdout;
}

function linesOf(file: string): readonly string[] {
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

async function allReady(daemon: Daemon, count: number): Promise<void> {
  await eventually(async () => (await view(daemon)).workers.filter(({ state }) => state === 'ready').length === count, {
    withinMs: 20_000,
  });
}

test('a step runs once for a release, whatever becomes of workers and of us, and once more for the next', async () => {
  const folder = temporaryFolder();
  const steps = path.join(folder, 'shared/steps');
  const config = service(`workers: 8\n    prestart: [${migration()}]`);
  try {
    const ports = await (async () => {
      await using daemon = await startDaemon({ config, folder });
      assert.deepEqual(linesOf(steps), ['web/prestart/migrate']);
      for (let i = 0; i < 3; i++) {
        const victim = (await view(daemon)).workers.find(({ state }) => state === 'ready');
        process.kill(victim?.pid ?? 0, 'SIGKILL');
        await eventually(async () => (await view(daemon)).workers.every(({ pid }) => pid !== victim?.pid));
        await allReady(daemon, 8);
      }
      assert.equal((await daemon.verb('scale', 'web', '9')).code, 0);
      await allReady(daemon, 9);
      writeConfig(folder, daemon.ports, config.replace('workers: 8', 'workers: 2\n    concurrency: 7'));
      const reloaded = await daemon.verb('reload');
      assert.equal(reloaded.code, 0, reloaded.stderr);
      assert.match(reloaded.stdout, /service web changed/);
      assert.match((await daemon.verb('reload')).stdout, /nothing changed; new code: `proxy deploy web`/);
      return daemon.ports;
    })();
    await using daemon = await startDaemon({ config: config.replace('workers: 8', 'workers: 2'), folder, ports });
    assert.deepEqual(linesOf(steps), ['web/prestart/migrate']);
    const { code, stdout, stderr } = await daemon.verb('deploy', 'web', '--release', 'r2');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /prestart_done service=web step=migrate/);
    assert.match(stdout, /web runs release r2, in /);
    assert.equal(linesOf(steps).length, 2);
    assert.equal((await view(daemon)).release?.name, 'r2');
    // The same release again: its workers are others, its steps were done.
    const again = await daemon.verb('deploy', 'web', '--release', 'r2');
    assert.match(again.stdout, /web runs release r2, whose steps had been done before/);
    assert.equal(linesOf(steps).length, 2);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('of two control planes on one store one runs the steps, and the other waits for their end', async () => {
  const shared = temporaryFolder();
  const steps = path.join(shared, 'shared/steps');
  const config = service(`workers: 1\n    prestart: [${migration('; sleep 2')}]`).replaceAll('FOLDER', shared);
  const folders = [temporaryFolder(), temporaryFolder()];
  try {
    for (const folder of folders) symlinkSync(path.join(shared, 'state'), path.join(folder, 'state'));
    mkdirSync(path.join(shared, 'state'), { mode: 0o700 });
    const daemons = await Promise.all(folders.map((folder) => startDaemon({ config, folder })));
    await using _first = daemons[0] ?? assert.fail();
    await using _second = daemons[1] ?? assert.fail();
    for (const daemon of daemons) assert.match(await get(daemon), /^HTTP\/\S+ 200/);
    assert.deepEqual(linesOf(steps), ['web/prestart/migrate']);
  } finally {
    for (const folder of [...folders, shared]) rmSync(folder, { recursive: true, force: true });
  }
});

const APP = `from fastapi import FastAPI
app = FastAPI()
@app.get("/")
def version():
    return "VERSION"
`;

test('FastAPI in a directory whose link moves: workers stay on the old code until a deploy, also over a restart of ours', async () => {
  const folder = temporaryFolder();
  const current = path.join(folder, 'shared/current');
  const point = (version: string): void => {
    const target = path.join(folder, 'shared', version);
    mkdirSync(target);
    writeFileSync(path.join(target, 'versioned.py'), APP.replace('VERSION', version));
    symlinkSync(target, `${current}.new`);
    renameSync(`${current}.new`, current);
  };
  point('old');
  const config = service(
    `workers: 1\n    env: { PYTHONDONTWRITEBYTECODE: 1 }\n    prestart: [{ name: where, command: [sh, -c, 'pwd -P >> FOLDER/shared/steps'] }]`,
    '/usr/bin/python3 -m uvicorn versioned:app --uds {socket}',
    'FOLDER/shared/current',
  );
  try {
    const ports = await (async () => {
      await using daemon = await startDaemon({ config, folder });
      assert.match(await get(daemon), /"old"$/);
      point('new');
      const [before] = (await view(daemon)).workers;
      process.kill(before?.pid ?? 0, 'SIGKILL');
      await eventually(async () => (await view(daemon)).workers[0]?.pid !== before?.pid);
      await allReady(daemon, 1);
      assert.match(await get(daemon), /"old"$/);
      assert.equal((await daemon.verb('restart', 'web')).code, 0);
      assert.match(await get(daemon), /"old"$/);
      return daemon.ports;
    })();
    await using daemon = await startDaemon({ config, folder, ports });
    assert.match(await get(daemon), /"old"$/);
    const { code, stderr } = await daemon.verb('deploy', 'web');
    assert.equal(code, 0, stderr);
    assert.match(await get(daemon), /"new"$/);
    assert.deepEqual(
      linesOf(path.join(folder, 'shared/steps')),
      ['old', 'new'].map((name) => `${folder}/shared/${name}`),
    );
    assert.equal((await view(daemon)).release?.directory, path.join(folder, 'shared/new'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a step that fails at the first start is told to visitors and operators; mended, proxy restart goes on at once', async () => {
  const folder = temporaryFolder();
  const tool = path.join(folder, 'shared/tool');
  const config = service(`workers: 1\n    queue: { max: 0 }\n    prestart: [{ name: migrate, command: ${tool} }]`);
  await using daemon = await startDaemon({ config, folder, started: false });
  await eventually(async () => (await view(daemon)).state === 'failed');
  assert.match((await view(daemon)).problem ?? '', /the step migrate before the start failed: command not found/);
  const answer = await get(daemon);
  assert.match(answer, /^HTTP\/\S+ 503/);
  assert.match(answer, /retry-after: \d+/i);
  assert.match(answer, /the app's step migrate before the start failed; tried again in a minute/);
  assert.match((await daemon.verb('status')).stdout, /web +failed .*the step migrate/);
  const failed = await daemon.verb('restart', 'web');
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /the step migrate before the start failed/);
  writeFileSync(tool, '#!/bin/sh\necho migrated\n', { mode: 0o755 });
  const mended = await daemon.verb('restart', 'web');
  assert.equal(mended.code, 0, mended.stderr);
  assert.match(await get(daemon), /^HTTP\/\S+ 200/);
  assert.ok(
    daemon.events('worker_output').some(({ worker, line }) => worker === 'web/prestart/migrate' && line === 'migrated'),
  );
  rmSync(folder, { recursive: true, force: true });
});

test('a reload or a deploy whose step or worker fails leaves the old release as it is, and says why', async () => {
  const folder = temporaryFolder();
  const current = path.join(folder, 'shared/current');
  const point = (name: string): void => {
    symlinkSync(path.join(folder, 'shared', name), `${current}.new`);
    renameSync(`${current}.new`, current);
  };
  const server = `import http from 'node:http';
http.createServer((q, s) => s.end(process.cwd())).listen(process.argv[2]);
`;
  for (const [name, app] of [
    ['good', server],
    ['broken', 'console.error("no such module"); process.exit(1);\n'],
  ] as const) {
    mkdirSync(path.join(folder, 'shared', name));
    writeFileSync(path.join(folder, 'shared', name, 'app.mjs'), app);
    if (name === 'good') writeFileSync(path.join(folder, 'shared/good/step'), '#!/bin/sh\n', { mode: 0o755 });
  }
  point('good');
  const config = service(
    'workers: 2\n    prestart: [{ name: prepare, command: ./step }]',
    'node app.mjs {socket}',
    'FOLDER/shared/current',
  );
  await using daemon = await startDaemon({ config, folder });
  const before = (await view(daemon)).release;
  const untouched = async (): Promise<void> => {
    assert.deepEqual((await view(daemon)).release, before);
    const victim = (await view(daemon)).workers[0]?.pid ?? 0;
    process.kill(victim, 'SIGKILL');
    await eventually(async () => (await view(daemon)).workers.every(({ pid }) => pid !== victim));
    await allReady(daemon, 2);
    assert.match(await get(daemon), /shared\/good$/);
  };
  point('broken');
  const noStep = await daemon.verb('deploy', 'web');
  assert.equal(noStep.code, 1);
  assert.match(noStep.stderr, /the step prepare before the start failed: command not found.*; release \S+ goes on/);
  await untouched();
  writeFileSync(path.join(folder, 'shared/broken/step'), '#!/bin/sh\n', { mode: 0o755 });
  const noWorker = await daemon.verb('deploy', 'web', '--release', 'b');
  assert.equal(noWorker.code, 1);
  assert.match(noWorker.stderr, /did not become ready: .*; release \S+ goes on.*\n +no such module/);
  await untouched();
  writeConfig(folder, daemon.ports, config.replace('./step', './other'));
  const refused = await daemon.verb('reload');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /web: the step prepare before the start failed: command not found.*nothing was changed/);
  await untouched();
  rmSync(folder, { recursive: true, force: true });
});

test('a reload that is taken back runs no step again', async () => {
  const folder = temporaryFolder();
  const two = (
    first: string,
    second: string,
  ): string => `sites: [{ hosts: [localhost], routes: [{ path: /, service: web }, { path: /b, service: other }] }]
services:
  web: { command: "node worker.mjs {socket}", directory: FIXTURES, workers: 1, prestart: [${migration(`; ${first}`)}] }
  other: { command: "node worker.mjs {socket}", directory: FIXTURES, workers: 1, prestart: [{ name: b, command: ${second} }] }
`;
  const steps = path.join(folder, 'shared/steps');
  await using daemon = await startDaemon({ config: two('true', '["true"]'), folder });
  const before = (await view(daemon)).release;
  writeConfig(folder, daemon.ports, two('echo more', './nothing-here'));
  const { code, stderr } = await daemon.verb('reload');
  assert.equal(code, 1);
  assert.match(stderr, /other: the step b before the start failed/);
  assert.deepEqual((await view(daemon)).release, before);
  assert.equal(linesOf(steps).length, 2);
  await allReady(daemon, 1);
  rmSync(folder, { recursive: true, force: true });
});

test('while a step of a deploy runs the old release serves and status says where it is; TERM ends the step with all else', async () => {
  const folder = temporaryFolder();
  const config = service(
    `workers: 1\n    prestart: [{ name: first, command: ["true"] }, { name: second, command: [sh, -c, 'test ! -e FOLDER/shared/slow || sleep 600'] }]`,
  );
  await using daemon = await startDaemon({ config, folder });
  writeFileSync(path.join(folder, 'shared/slow'), '');
  const deploying = daemon.verb('deploy', 'web', '--release', 'next');
  await eventually(async () => (await view(daemon)).prestart?.step === 'second');
  const { state, release } = await view(daemon);
  assert.deepEqual([state, release?.name], ['prestart', null]);
  assert.match(await get(daemon), /^HTTP\/\S+ 200/);
  assert.match((await daemon.verb('status')).stdout, /step second \(2 of 2\) since/);
  const group = processesWith('PROXY_WORKER', 'web/prestart/second');
  daemon.child.kill('SIGTERM');
  assert.equal(await daemon.exited, 0);
  assert.ok(group.length > 0 && group.every((pid) => !isRunning(pid)));
  const { code, stdout } = await deploying;
  assert.equal(code, 1);
  assert.match(stdout, /prestart_done service=web step=first/);
  rmSync(folder, { recursive: true, force: true });
});

test('kill -9 of the control plane ends the step that runs; the next start repeats it and says so', async () => {
  const folder = temporaryFolder();
  const steps = path.join(folder, 'shared/steps');
  const config = service(
    `workers: 1\n    prestart: [{ name: migrate, command: [sh, -c, 'echo x >> FOLDER/shared/steps; test -e FOLDER/shared/go || { sleep 600 & sleep 600; }'] }]`,
  );
  try {
    const ports = await (async () => {
      await using daemon = await startDaemon({ config, folder, started: false });
      await eventually(async () => (await view(daemon)).prestart?.step === 'migrate' && linesOf(steps).length === 1);
      assert.equal((await view(daemon)).state, 'prestart');
      assert.match((await daemon.verb('status')).stdout, /web +prestart .*step migrate \(1 of 1\) since/);
      const group = processesWith('PROXY_WORKER', 'web/prestart/migrate');
      assert.ok(group.length >= 2);
      process.kill(daemon.pid, 'SIGKILL');
      await eventually(() => group.every((pid) => !isRunning(pid)), { withinMs: 2_000 });
      return daemon.ports;
    })();
    writeFileSync(path.join(folder, 'shared/go'), '');
    await using daemon = await startDaemon({ config, folder, ports });
    assert.equal(linesOf(steps).length, 2);
    assert.equal(daemon.events('prestart_repeated').length, 1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
