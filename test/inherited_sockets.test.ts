/** Sockets that were opened before us and stay open after us, as systemd does it, and what it is told. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { FIXTURES, freePort, ROOT, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Ports } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const MAIN = path.join(ROOT, 'src/main.ts');
const CONFIG = `proxy_processes: 2
shutdown: { grace_period: 5s }
sites: [{ hosts: [localhost], redirect_https: false, service: web }]
services:
  web: { command: "node bench_worker.mjs {socket}", directory: FIXTURES, workers: 1 }
`;

interface Started {
  readonly child: ChildProcess;
  readonly log: () => string;
  readonly exited: Promise<number | null>;
}

/** Starts it as systemd would: the sockets from 3 on, and its own pid in the environment. */
function startWith(file: string, sockets: readonly net.BoundSocket[], env: NodeJS.ProcessEnv = {}): Started {
  const words = ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', process.execPath, MAIN, 'run', '-c', file];
  const child = spawn('sh', words, {
    stdio: ['ignore', 'pipe', 'pipe', ...sockets.map((socket) => socket.fd())],
    env: { ...process.env, LISTEN_FDS: String(sockets.length), ...env },
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (log += text));
  }
  return { child, log: () => log, exited: new Promise((resolve) => child.once('exit', resolve)) };
}

async function bound(ports: Ports): Promise<readonly net.BoundSocket[]> {
  return [ports.http, ports.https].map((port) => new net.BoundSocket({ host: '127.0.0.1', port }));
}

/** A request on a connection of its own; throws when it is refused or not answered. */
function ask(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let answer = '';
    socket.setEncoding('latin1').setTimeout(20_000, () => socket.destroy(new Error('no answer')));
    socket.on('connect', () => socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'));
    socket.on('data', (text: string) => (answer += text));
    socket.on('error', reject);
    socket.on('close', () => {
      if (answer.startsWith('HTTP/1.1 200')) resolve();
      else reject(new Error(`answered ${JSON.stringify(answer.slice(0, 40))}`));
    });
  });
}

test('a restart under load refuses no connection where the sockets are inherited', async () => {
  const folder = temporaryFolder();
  const ports = { http: await freePort(), https: await freePort() };
  const file = writeConfig(folder, ports, CONFIG, '', '', '127.0.0.1');
  const sockets = await bound(ports);
  const names = { LISTEN_FDNAMES: 'http:https' };
  let running = startWith(file, sockets, names);
  const children = [running];
  try {
    await eventually(() => running.log().includes('"event":"started"'), { withinMs: 20_000 });
    const failures: string[] = [];
    let answered = 0;
    const loading = new AbortController();
    const load = Array.from({ length: 8 }, async () => {
      while (!loading.signal.aborted) {
        await ask(ports.http).then(
          () => answered++,
          (error: unknown) => failures.push(String(error)),
        );
      }
    });
    for (let restart = 0; restart < 2; restart++) {
      const before = answered;
      await eventually(() => answered > before + 100, { withinMs: 20_000 });
      running.child.kill('SIGTERM');
      assert.equal(await running.exited, 0, running.log());
      running = startWith(file, sockets, names);
      children.push(running);
      await eventually(() => running.log().includes('"event":"started"'), { withinMs: 20_000 });
    }
    const after = answered;
    await eventually(() => answered > after + 100, { withinMs: 20_000 });
    loading.abort();
    await Promise.all(load);
    assert.deepEqual(failures, []);
  } finally {
    for (const { child, exited } of children) {
      child.kill('SIGKILL');
      await exited;
    }
    for (const socket of sockets) await socket.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

test('systemd opens the sockets, starts us at the first connection, and is told how we are', async () => {
  const folder = temporaryFolder();
  const ports = { http: await freePort(), https: await freePort() };
  const file = writeConfig(folder, ports, CONFIG, '', '', '127.0.0.1');
  const notify = path.join(folder, 'notify');
  const listener = spawn('/usr/bin/python3', [path.join(FIXTURES, 'notify_listener.py'), notify]);
  let told = '';
  listener.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  await eventually(() => told.includes('LISTENING'));
  const activate = [ports.http, ports.https].flatMap((port) => ['-l', `127.0.0.1:${port}`]);
  const passed = ['-E', `NOTIFY_SOCKET=${notify}`, '-E', 'WATCHDOG_USEC=300000', '-E', `PATH=${process.env['PATH']}`];
  // Names that are no entrypoint's: they are found by their addresses.
  const words = [...activate, ...passed, '--fdname=a:b', process.execPath, MAIN, 'run', '-c', file];
  const child = spawn('systemd-socket-activate', words, { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    await eventually(async () => {
      const { stdout } = await run('ss', ['-Hltn', `sport = :${ports.https}`]);
      return stdout !== '';
    });
    // Nothing of ours runs yet: this very connection is answered.
    await ask(ports.http);
    await eventually(() => /READY=1\nSTATUS=serving localhost\nMAINPID=\d+/.test(told));
    assert.match(told, new RegExp(`MAINPID=${child.pid}`));
    await eventually(() => told.split('WATCHDOG=1').length > 3);
    child.kill('SIGTERM');
    assert.equal(await exited, 0);
    await eventually(() => told.includes('STOPPING=1'));
  } finally {
    child.kill('SIGKILL');
    listener.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});
