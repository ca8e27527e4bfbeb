/** Why workers end, and what is made of it. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon, WorkerView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const SITE = 'sites: [{ hosts: [localhost], service: web }]';

function service(command: string | readonly string[], more = ''): string {
  return `${SITE}
services:
  web: { command: ${JSON.stringify(command)}, directory: FIXTURES, workers: 1${more} }
`;
}

async function worker(daemon: Daemon): Promise<WorkerView | undefined> {
  return (await daemon.status()).services[0]?.workers[0];
}

async function code(daemon: Daemon): Promise<string> {
  return (await run('curl', ['-sSk', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}/`])).stdout;
}

test('status tells how often workers were started again and why, and how the last one ended', async () => {
  await using daemon = await startDaemon({ config: service('node worker.mjs {socket}') });
  for (const [restarts, signal] of ['SIGKILL', 'SIGSEGV', 'SIGTERM'].entries()) {
    process.kill((await worker(daemon))?.pid ?? 0, signal);
    await eventually(async () => {
      const now = await worker(daemon);
      return now?.state === 'ready' && now.restarts === restarts + 1;
    });
  }
  const { restarts_by_reason: reasons, last_exit: exit } = (await worker(daemon)) ?? {};
  // The fixture ends well when it gets TERM.
  assert.deepEqual(reasons, { killed: 1, crash: 1, clean: 1 });
  assert.equal(exit, 'exit code 0');
  assert.match((await daemon.verb('status')).stdout, /3 \(killed 1, crash 1, clean 1\).*exit code 0 \(clean\)/);
});

test('a worker whose port somebody else has taken gets another at once, and is not blamed', async () => {
  const folder = temporaryFolder();
  const taken = path.join(folder, 'shared/taken');
  // In a group of its own the thief outlives the worker, for a while; it never answers.
  const thief = `require('net').createServer().listen(process.argv[1], '127.0.0.1', () => console.log('taken')); setTimeout(() => process.exit(), 15000)`;
  const script = `
    const { spawn } = require('child_process'), { existsSync, writeFileSync } = require('fs');
    const serve = () => require('http').createServer((q, s) => s.end('ok')).listen(process.argv[1], '127.0.0.1');
    if (existsSync('${taken}')) serve();
    else {
      writeFileSync('${taken}', process.argv[1]);
      const thief = spawn(process.execPath, ['-e', ${JSON.stringify(thief)}, process.argv[1]], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
      thief.stdout.once('data', serve);
    }`;
  await using daemon = await startDaemon({
    config: service(['node', '-e', script.replaceAll('\n', ' '), '{port}']),
    folder,
    started: false,
  });
  await eventually(async () => (await worker(daemon))?.state === 'ready');
  assert.equal(await code(daemon), '200');
  assert.ok(existsSync(taken));
  const exits = daemon.events('worker_exited');
  assert.deepEqual(
    exits.map(({ reason, restart_in_ms: pause }) => [reason, pause]),
    [['port_taken', 0]],
  );
  assert.match(JSON.stringify(exits[0]?.['output']), /EADDRINUSE/);
});

test('socket files that nobody listens to any more are in nobody’s way', async () => {
  for (const command of ['node worker.mjs {socket}', '/usr/bin/python3 -m uvicorn fastapi_app:app --uds {socket}']) {
    const folder = temporaryFolder();
    const sockets = path.join(folder, 'run/services/web');
    mkdirSync(sockets, { recursive: true });
    const leave = `import socket, sys
for name in sys.argv[1:]: socket.socket(socket.AF_UNIX).bind(name)`;
    const files = [1, 2, 3].map((generation) => path.join(sockets, `0.${generation}.sock`));
    const { code: exit, stderr } = await run('/usr/bin/python3', ['-c', leave, ...files]);
    assert.equal(exit, 0, stderr);
    await using daemon = await startDaemon({
      config: service(command, ', env: { PYTHONDONTWRITEBYTECODE: 1 }'),
      folder,
    });
    assert.match(await code(daemon), /200|404/);
    assert.equal((await worker(daemon))?.restarts, 0);
    assert.equal(existsSync(files[0] ?? ''), true, 'the worker has that very path');
  }
});

test('a command that a shell cannot find is given up at once', async () => {
  const folder = temporaryFolder();
  const script = path.join(folder, 'shared/start');
  writeFileSync(script, '#!/bin/sh\nexec not-installed-here "$@"\n', { mode: 0o755 });
  await using daemon = await startDaemon({ config: service(`${script} {socket}`), folder, started: false });
  await eventually(async () => (await worker(daemon))?.state === 'fatal');
  const [exit] = daemon.events('worker_exited');
  // 126 where a folder in PATH is closed to the worker's user.
  assert.match(String(exit?.['exit']), /^exit code 12[67]$/);
  assert.equal(exit?.['reason'], 'command');
  assert.match(JSON.stringify(exit?.['output']), /not-installed-here/);
});
