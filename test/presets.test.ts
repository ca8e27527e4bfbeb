/** Commands that do not say where to listen, or cannot be run: what becomes of them in a running daemon. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROOT, startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon, WorkerView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { assertPauses } from './support/pauses.ts';
import { run } from './support/processes.ts';

const SITE = 'sites: [{ hosts: [localhost], service: web }]';

function service(command: string, more = ''): string {
  return `${SITE}
services:
  web:
    command: ${JSON.stringify(command)}
    directory: FIXTURES
    workers: 2
    env: { PYTHONDONTWRITEBYTECODE: 1 }
    ${more}
`;
}

function ownFolder(t: TestContext): string {
  const folder = temporaryFolder();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function get(daemon: Daemon, target: string): Promise<unknown> {
  const { stdout, stderr, code } = await run('curl', [
    '-sSk',
    '--interface',
    '127.0.0.2',
    '--max-time',
    '20',
    daemon.origin + target,
  ]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function firstWorker(daemon: Daemon): Promise<WorkerView | undefined> {
  return (await daemon.status()).services[0]?.workers[0];
}

for (const [command, effective] of [
  ['/usr/bin/uvicorn fastapi_app:app', '/usr/bin/uvicorn fastapi_app:app --uds {socket}'],
  ['/usr/bin/python3 -m uvicorn fastapi_app:app', '/usr/bin/python3 -m uvicorn fastapi_app:app --uds {socket}'],
  [
    '/usr/bin/gunicorn -k uvicorn.workers.UvicornWorker fastapi_app:app',
    '/usr/bin/gunicorn -k uvicorn.workers.UvicornWorker fastapi_app:app -b unix:{socket}',
  ],
] as const) {
  test(`${command} needs no flag to serve at a socket, and what is run is shown`, async () => {
    await using daemon = await startDaemon({ config: service(command) });
    // The scheme and the client's address are what the proxy says, so the application trusts it.
    assert.deepEqual(await get(daemon, '/who'), {
      url: `${daemon.origin}/who`,
      scheme: 'https',
      client: '127.0.0.2',
    });
    assert.deepEqual(daemon.events('worker_command')[0]?.['command'], effective.split(' '));
    const status = await daemon.verb('status');
    assert.ok(status.stdout.includes(effective), status.stdout);
    const validated = await daemon.verb('validate', '--effective');
    assert.equal(validated.code, 0, validated.stderr);
    for (const word of effective.split(' ')) assert.ok(validated.stdout.includes(word), validated.stdout);
  });
}

for (const command of [
  '/usr/bin/uvicorn fastapi_app:app --fd {fd}',
  '/usr/bin/gunicorn -k uvicorn.workers.UvicornWorker fastapi_app:app -b fd://{fd}',
]) {
  test(`${command} serves at a socket it inherits, also after it was killed, and leaves no file`, async () => {
    await using daemon = await startDaemon({
      config: service(command, 'queue: { timeout: 20s }').replace('workers: 2', 'workers: 1'),
    });
    const who = { url: `${daemon.origin}/who`, scheme: 'https', client: '127.0.0.2' };
    assert.deepEqual(await get(daemon, '/who'), who);
    const sockets = path.join(daemon.folder, 'run/services/web');
    const [before = ''] = readdirSync(sockets);
    assert.match(before, /^0\.\d+\.sock$/);
    process.kill((await firstWorker(daemon))?.pid ?? 0, 'SIGKILL');
    assert.deepEqual(await get(daemon, '/who'), who);
    const after = readdirSync(sockets);
    assert.equal(after.length, 1);
    assert.notEqual(after[0], before);
    daemon.child.kill('SIGTERM');
    assert.equal(await daemon.exited, 0);
    assert.deepEqual(readdirSync(sockets), []);
  });
}

test('a command that is not there is given up at once, with the nearest one told', async (t) => {
  const folder = ownFolder(t);
  const app = path.join(folder, 'shared/app');
  mkdirSync(path.join(app, '.venv/bin'), { recursive: true });
  writeFileSync(path.join(app, '.venv/bin/serve-it'), '#!/bin/sh\n', { mode: 0o755 });
  const config = `${SITE}\nservices: { web: { command: "serve-it {socket}", directory: ${app}, workers: 2, queue: { max: 0 } } }\n`;
  await using daemon = await startDaemon({ config, folder, started: false });
  await eventually(async () => (await firstWorker(daemon))?.state === 'fatal', { withinMs: 30_000 });
  const [exit] = daemon.events('worker_exited');
  assert.deepEqual([exit?.['reason'], exit?.['given_up']], ['command', true]);
  assertPauses([exit?.['restart_in_ms']], [60_000]);
  assert.match(String(exit?.['exit']), /not found in PATH: serve-it; did you mean \.venv\/bin\/serve-it\?/);
  assert.match(String((await firstWorker(daemon))?.last_exit), /did you mean/);
  assert.equal(daemon.events('worker_exited').length, 1);
  const { stdout } = await run('curl', ['-sSki', `${daemon.origin}/`]);
  assert.match(stdout, /^HTTP\/\S+ 503[^]*\r\nretry-after: \d+\r\n[^]*does not run/i);
});

test('a command comes to work once it is there and an operator says so', async (t) => {
  const folder = ownFolder(t);
  const app = path.join(folder, 'shared/app');
  mkdirSync(app);
  writeFileSync(
    path.join(app, 'server.mjs'),
    "import http from 'node:http';\nhttp.createServer((q, s) => s.end('1')).listen(process.argv[2]);\n",
  );
  const config = `${SITE}\nservices: { web: { command: "./serve server.mjs {socket}", directory: ${app}, workers: 1 } }\n`;
  await using daemon = await startDaemon({ config, folder, started: false });
  await eventually(async () => (await firstWorker(daemon))?.state === 'fatal', { withinMs: 30_000 });
  symlinkSync(process.execPath, path.join(app, 'serve'));
  const restarted = await daemon.verb('restart', 'web');
  assert.equal(restarted.code, 0, restarted.stderr);
  assert.equal(await get(daemon, '/'), 1);
});

test('no secret of a command or of the environment is in the log, the status or the effective configuration', async (t) => {
  const folder = ownFolder(t);
  writeFileSync(path.join(folder, 'key'), 'hunter2-file\n', { mode: 0o600 });
  const command = 'node worker.mjs {socket} ${COMMAND_SECRET} --api-token=hunter2-flag';
  const config = `${SITE}
services:
  web:
    command: ${JSON.stringify(command)}
    directory: FIXTURES
    workers: 1
    env: { FROM_FILE: "file:FOLDER/key", FROM_VARIABLE: "\${ENV_SECRET}", API_TOKEN: hunter2-plain, RECORD: FOLDER/shared/executed }
logging: { level: debug }
`;
  const env = { COMMAND_SECRET: 'hunter2-command', ENV_SECRET: 'hunter2-env' };
  await using daemon = await startDaemon({ config, folder, env });
  const pid = (await firstWorker(daemon))?.pid ?? 0;
  // It has them all: what is hidden below was there to be shown.
  const { stdout: given } = await run('cat', [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
  for (const secret of ['command', 'flag', 'file', 'env', 'plain'])
    assert.ok(given.includes(`hunter2-${secret}`), secret);

  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const verb = (...args: readonly string[]): ReturnType<typeof run> =>
    run('env', [...words, process.execPath, path.join(ROOT, 'src/main.ts'), ...args, '-c', daemon.file]);
  const shown = [await verb('status'), await verb('status', '--json'), await verb('validate', '--effective')];
  assert.deepEqual(daemon.events('worker_command')[0]?.['command'], [
    'node',
    'worker.mjs',
    '{socket}',
    '***',
    '--api-token=***',
  ]);
  for (const { stdout, stderr, code } of shown) {
    assert.equal(code, 0, stderr);
    assert.ok(stdout.includes('worker.mjs'));
    assert.doesNotMatch(stdout + stderr, /hunter2/);
  }
  assert.doesNotMatch(daemon.log(), /hunter2/);
});

test('servers that would start processes of their own, or reload, are warned about once', async () => {
  const command = '/usr/bin/uvicorn fastapi_app:app --workers 1 --reload';
  await using daemon = await startDaemon({ config: service(command, 'health_check: { interval: 1s }') });
  assert.deepEqual(
    daemon.events('worker_command').flatMap(({ warning }) => warning ?? []),
    ['uvicorn watches its files and starts processes by itself: leave out --reload'],
  );
  const validated = await daemon.verb('validate');
  assert.match(validated.stderr, /warning: service web: uvicorn watches its files/);
});
