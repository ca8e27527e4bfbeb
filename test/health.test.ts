/** The metrics address and `proxy health`: whether we live and are ready, told to machines. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { test } from 'node:test';
import { freePort, RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const SITES = `sites: [{ hosts: [localhost], service: web }]\nproxy_processes: 1`;
const TOKEN = 'a-token-nobody-guesses';

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** `headers` are as curl's -H takes them. */
async function get(url: string, ...headers: readonly string[]): Promise<Answer> {
  const { stdout } = await run('curl', ['-sSi', '--max-time', '5', ...headers.flatMap((line) => ['-H', line]), url]);
  const end = stdout.indexOf('\r\n\r\n');
  return { status: Number(stdout.slice(9, 12)), head: stdout.slice(0, end), body: stdout.slice(end + 4) };
}

async function line(daemon: Daemon, ...args: readonly string[]): Promise<readonly [number | null, string]> {
  const { code, stdout, stderr } = await daemon.verb('health', ...args);
  return [code, stdout + stderr];
}

test('lives and is ready, as long as each service has a worker', async () => {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const broken = `  broken: { command: [sh, -c, exit 3], workers: 1 }\n`;
  await using daemon = await startDaemon({
    config: `${SITES}${RECORDING_SERVICE}metrics: { address: "127.0.0.1:${port}" }\n`,
  });
  assert.deepEqual(await line(daemon), [0, 'alive\n']);
  assert.deepEqual(await line(daemon, '--ready'), [0, 'ready\n']);
  assert.deepEqual(await get(`${origin}/livez`).then(({ status, body }) => [status, body]), [200, 'alive\n']);
  assert.deepEqual(await get(`${origin}/readyz`).then(({ status, body }) => [status, body]), [200, 'ready\n']);

  writeFileSync(daemon.file, `${readFileSync(daemon.file, 'utf8').replace('services:\n', `services:\n${broken}`)}`);
  assert.equal((await daemon.verb('reload')).code, 0);
  const { status, body } = await get(`${origin}/readyz`);
  assert.deepEqual([status, body], [503, 'not ready\nservice broken has no ready worker\n']);
  assert.deepEqual(await line(daemon, '--ready'), [1, 'proxy: not ready: service broken has no ready worker\n']);
  assert.deepEqual(await line(daemon), [0, 'alive\n']);
});

test('what is asked from elsewhere, by another name, otherwise than by GET or too long gets nothing', async () => {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  await using _ = await startDaemon({
    config: `${SITES}${RECORDING_SERVICE}metrics: { address: "127.0.0.1:${port}" }\n`,
  });
  const rebound = await get(`${origin}/livez`, 'Host: evil.example');
  assert.deepEqual([rebound.status, rebound.body], [403, 'this address is asked for as localhost or by its number\n']);
  assert.equal((await get(`${origin}/metrics`, 'Host: evil.example')).status, 403);
  assert.equal((await get(`http://localhost:${port}/livez`)).status, 200);
  const { stdout } = await run('curl', ['-sSi', '-X', 'POST', '-d', 'x=1', `${origin}/livez`]);
  assert.match(stdout, /^HTTP\/1\.1 405 /);
  assert.match(stdout, /^Allow: GET, HEAD\r$/m);
  const head = await run('curl', ['-sSI', `${origin}/livez`]);
  assert.match(head.stdout, /^HTTP\/1\.1 200 [^]*\r\n\r\n$/);
  for (const path of ['/nothing', '/constructor', '/__proto__', '//livez', '/livez/']) {
    assert.equal((await get(origin + path)).status, 404, path);
  }
  assert.equal((await get(`${origin}/livez`, `X: ${'x'.repeat(9_000)}`)).status, 431);
  // Somebody who never ends their head is let go.
  const slow = net.connect(port, '127.0.0.1').on('error', () => {});
  slow.write('GET /livez HTTP/1.1\r\nHost: local');
  await new Promise((resolve) => slow.resume().once('close', resolve));
});

test('an address others can reach tells them whether, and only those with the token why not', async () => {
  const port = await freePort();
  await using daemon = await startDaemon({
    config: `${SITES}\nservices: { web: { command: [sh, -c, exit 3], workers: 1 } }\nmetrics: { address: ":${port}", token: ${TOKEN} }\n`,
    started: false,
  });
  const other = Object.values(os.networkInterfaces())
    .flat()
    .find((address) => address?.family === 'IPv4' && !address.internal)?.address;
  const origin = `http://${other ?? '127.0.0.1'}:${port}`;
  await eventually(async () => (await get(`${origin}/livez`)).status === 200, { withinMs: 20_000 });
  const stranger = await get(`${origin}/readyz`, 'Host: proxy.internal');
  assert.deepEqual([stranger.status, stranger.body], [503, 'not ready\n']);
  const known = await get(`${origin}/readyz`, `Authorization: Bearer ${TOKEN}`);
  assert.match(known.body, /service web has no ready worker/);
  assert.equal((await get(`${origin}/metrics`)).status, 401);
  assert.match((await get(`${origin}/metrics`, `Authorization: Bearer ${TOKEN}`)).body, /^proxy_ready 0$/m);
  // What is there is not told either.
  for (const header of ['X: y', 'Authorization: Bearer wrong', `Authorization: Bearer ${TOKEN}x`]) {
    const { status, head, body } = await get(`${origin}/nothing`, header);
    assert.equal(status, 401, header);
    assert.match(head, /^WWW-Authenticate: Basic /m);
    assert.doesNotMatch(body, /livez/);
  }
  assert.equal((await get(`${origin}/nothing`, `Authorization: Bearer ${TOKEN}`)).status, 404);
  assert.ok(!daemon.log().includes(TOKEN));
});

test('a port that is taken is told before anything is started', async () => {
  const port = await freePort();
  const holder = net.createServer().listen(port, '127.0.0.1');
  try {
    await using daemon = await startDaemon({
      config: `${SITES}${RECORDING_SERVICE}metrics: { address: "127.0.0.1:${port}" }\n`,
      started: false,
    });
    assert.equal(await daemon.exited, 1);
    const expected = new RegExp(`metrics: port ${port} on 127\\.0\\.0\\.1 is in use by \\S+ \\(pid ${process.pid}\\)`);
    assert.match(daemon.log(), expected);
    assert.deepEqual(daemon.events('proxy_ready'), []);
  } finally {
    holder.close();
  }
});

test('a reload moves the address, changes the token, ends both, and keeps all when the port is taken', async () => {
  const [first, second] = [await freePort(), await freePort()];
  await using daemon = await startDaemon({
    config: `${SITES}${RECORDING_SERVICE}metrics: { address: "127.0.0.1:${first}" }\n`,
  });
  const become = async (metrics: string): Promise<string> => {
    writeFileSync(daemon.file, readFileSync(daemon.file, 'utf8').replace(/^metrics:.*$/m, `metrics: ${metrics}`));
    const { stdout, stderr } = await daemon.verb('reload');
    return stdout + stderr;
  };
  const status = async (port: number, ...headers: string[]): Promise<number> =>
    (await get(`http://127.0.0.1:${port}/nothing`, ...headers)).status;

  const holder = net.createServer().listen(second, '127.0.0.1');
  assert.match(await become(`{ address: "127.0.0.1:${second}" }`), /is in use by .*nothing was changed/);
  assert.equal(await status(first), 404);
  await new Promise((resolve) => holder.close(resolve));

  assert.equal(await become(`{ address: "127.0.0.1:${second}" }`), 'metrics changed\n');
  assert.deepEqual([await status(second), await status(first)], [404, 0]);
  assert.equal(await become(`{ address: "127.0.0.1:${second}", token: ${TOKEN} }`), 'metrics changed\n');
  assert.equal(await status(second), 401);
  assert.equal(await status(second, `Authorization: Bearer ${TOKEN}`), 404);
  assert.match(
    await become(`{ address: "127.0.0.2:${second}", token: ${TOKEN} }`),
    /only a new start changes: metrics\.address/,
  );
  assert.equal(await become('off'), 'metrics changed\n');
  assert.equal(await status(second), 0);
  assert.deepEqual(await line(daemon), [0, 'alive\n']);
});

test('while shutdown.delay lasts it says it is not ready, and serves as before', async () => {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  await using daemon = await startDaemon({
    config: `${SITES}${RECORDING_SERVICE}metrics: { address: "127.0.0.1:${port}" }\nshutdown: { delay: 3s }\n`,
  });
  const begun = Date.now();
  daemon.child.kill('SIGTERM');
  await eventually(async () => (await get(`${origin}/readyz`)).status === 503);
  const { body } = await get(`${origin}/readyz`);
  assert.equal(body, 'not ready\nit is stopping\n');
  assert.deepEqual(await line(daemon, '--ready'), [1, 'proxy: not ready: it is stopping\n']);
  assert.equal((await get(`${origin}/livez`)).status, 200);
  // A connection of its own each time.
  const served = await run('curl', ['-sS', '--cacert', daemon.ca, `${daemon.origin}/hello`]);
  assert.equal(served.code, 0, served.stderr);
  assert.equal(await daemon.exited, 0);
  assert.ok(Date.now() - begun >= 3_000);
});

test('a file that is broken keeps nobody from asking, and nobody there is said as such', async () => {
  await using daemon = await startDaemon({ config: `${SITES}${RECORDING_SERVICE}` });
  writeFileSync(daemon.file, `${readFileSync(daemon.file, 'utf8')}\nfrobnicate: [\n`);
  assert.deepEqual(await line(daemon, '--ready'), [0, 'ready\n']);
  daemon.child.kill('SIGKILL');
  await daemon.exited;
  const [code, text] = await line(daemon);
  assert.equal(code, 1);
  assert.match(text, /^proxy: no daemon answers on \S+: is it running, and is this the right user\?[^\n]*\n$/);
});
