/** A deployment without a file: `proxy run --host …`, and the same written down by `proxy init`. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { FIXTURES, ROOT, temporaryFolder } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const MAIN = path.join(ROOT, 'src/main.ts');
/** Ports 80 and 443, and the usual folders, of our own. */
const OWN_MACHINE = `ip link set lo up && mount -t tmpfs tmpfs /run && exec "$@"`;

test('a name and a command are served over HTTPS; verbs find the daemon; a reload has nothing to change', async () => {
  const folder = temporaryFolder();
  const inside = ['--net', '--mount', 'sh', '-c', OWN_MACHINE, 'sh'];
  const words = ['run', '--host', 'localhost', '--', 'uvicorn', 'fastapi_app:app'];
  const daemon = spawn('unshare', [...inside, process.execPath, MAIN, ...words], {
    cwd: FIXTURES,
    env: { ...process.env, STATE_DIRECTORY: path.join(folder, 'state') },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let log = '';
  daemon.stdout.setEncoding('utf8').on('data', (text: string) => (log += text));
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  const within = (...args: readonly string[]) => run('nsenter', ['-t', String(daemon.pid), '-n', '-m', ...args]);
  try {
    await eventually(() => log.includes('worker_ready') && log.includes('"started"'), { withinMs: 20_000 });
    const root = path.join(folder, 'state/internal/root.pem');
    const answer = await within('curl', '-sS', '--cacert', root, 'https://localhost/who');
    assert.match(answer.stdout, /"scheme":"https"/, answer.stderr);
    const reload = await within(process.execPath, MAIN, 'reload', '-c', '/nonexistent');
    assert.equal(reload.code, 0, reload.stderr);
    assert.equal((await within(process.execPath, MAIN, 'health', '-c', '/nonexistent')).code, 0);
    daemon.kill('SIGTERM');
    assert.equal(await exited, 0);
  } finally {
    daemon.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

test('init writes what run would take, never over a file, and refuses what would not be a good configuration', async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, 'proxy.yaml');
  const proxy = (...args: readonly string[]) => run(process.execPath, [MAIN, ...args]);
  try {
    const app = ['--', 'uvicorn', 'main:app'];
    const bad = await proxy('init', '-c', file, '--host', 'app.example.com', ...app);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /proxy\.yaml:1:1 acme: .*agree_tos: true/);
    const account = ['--email', 'me@example.com', '--agree-tos'];
    const written = await proxy('init', '-c', file, '--host', 'app.example.com', ...account, ...app);
    assert.equal(written.code, 0, written.stderr);
    const text = readFileSync(file, 'utf8');
    assert.equal((await proxy('validate', '-c', file)).code, 0);
    const again = await proxy('init', '-c', file, '--host', 'other.example.com', ...account, ...app);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /is there already/);
    assert.equal(readFileSync(file, 'utf8'), text);
    assert.equal((await proxy('init')).code, 1);
    const misplaced = await proxy('run', '--host', 'localhost', 'uvicorn');
    assert.match(misplaced.stderr, /"uvicorn": a command comes after --/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('at a terminal init asks three questions', async () => {
  const folder = temporaryFolder();
  const terminal = spawn('script', ['-qec', `${process.execPath} ${MAIN} init`, '/dev/null'], { cwd: folder });
  let screen = '';
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => (screen += text));
  const exited = new Promise((resolve) => terminal.once('exit', resolve));
  try {
    for (const [question, answer] of [
      ['Which names', 'localhost'],
      ['What serves them', 'http://127.0.0.1:8000'],
      ['Your email', ''],
    ] as const) {
      await eventually(() => screen.includes(question));
      terminal.stdin.write(`${answer}\n`);
    }
    assert.equal(await exited, 0, screen);
    const text = readFileSync(path.join(folder, 'proxy.yaml'), 'utf8');
    assert.match(text, /hosts:\n +- localhost/);
    assert.match(text, /upstreams:\n +- http:\/\/127\.0\.0\.1:8000/);
  } finally {
    terminal.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
});
