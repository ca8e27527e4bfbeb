/** Which workers and upstreams get requests, while they come and go. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { RECORDING_SERVICE, startDaemon, writeConfig } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { sendAccounted } from './support/load.ts';
import { run } from './support/processes.ts';

interface Upstream {
  readonly name: string;
  readonly port: number;
  stop(): Promise<void>;
}

async function startUpstream(name: string, port = 0): Promise<Upstream> {
  const server = http.createServer((_request, response) => response.end(name));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    name,
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Who answered each of `count` requests, over one connection. */
async function askers(daemon: Daemon, count: number): Promise<string[]> {
  const targets = Array.from({ length: count }, () => `${daemon.origin}/`);
  const { stdout } = await run('curl', ['-sSk', '--max-time', '10', '-w', '\n', ...targets]);
  return stdout.trim().split('\n');
}

test('takes turns over upstreams, leaves out one that is gone, and takes it back', async () => {
  const [a, b] = [await startUpstream('a'), await startUpstream('b')];
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    upstreams: ["http://127.0.0.1:${a.port}", "http://localhost:${b.port}"]
    load_balancing: { policy: round_robin, slow_start: 0 }
    health_check: { interval: 100ms }
    queue: { timeout: 100ms }
`,
  });
  await eventually(async () => new Set(await askers(daemon, 4)).size === 2);
  const turns = await askers(daemon, 10);
  assert.equal(turns.filter((name) => name === 'a').length, 5, turns.join(' '));

  await b.stop();
  assert.deepEqual(new Set(await askers(daemon, 10)), new Set(['a']), 'from the first request on');
  await eventually(() => daemon.events('upstream_unhealthy').length > 0);

  const back = await startUpstream('b', b.port);
  await eventually(async () => new Set(await askers(daemon, 4)).size === 2);
  await Promise.all([a.stop(), back.stop()]);
  await eventually(async () => (await askers(daemon, 1))[0] === '503 Service Unavailable');
});

test('requests wait while the only worker is replaced, and one too many is turned away', async () => {
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE.replace('workers: 2', 'workers: 1')}    queue: { max: 3 }
`,
  });
  const [worker] = (await daemon.status()).services[0]?.workers ?? [];
  process.kill(worker?.pid ?? 0, 'SIGKILL');
  await eventually(() => daemon.events('worker_exited').length === 1);
  const ask = (method: string): Promise<string> =>
    run('curl', ['-sk', '-o', '/dev/null', '-w', '%{http_code}', '-X', method, '-d', 'x', daemon.origin]).then(
      ({ stdout }) => stdout,
    );
  const codes = await Promise.all(['GET', 'POST', 'PUT', 'DELETE', 'PATCH'].map(ask));
  assert.deepEqual(codes.toSorted(), ['200', '200', '200', '503', '503']);
});

test('a request whose worker dies before any answer is asked of another, if it may be asked twice', async () => {
  await using daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`,
  });
  // One worker closes every connection that brings /drop-once, and is gone by then: the other answers.
  const ask = async (method: string): Promise<string> => {
    const args = ['-sk', '-o', '/dev/null', '-w', '%{http_code}', '-X', method, '--data-binary', 'x'.repeat(1000)];
    return (await run('curl', [...args, `${daemon.origin}/drop-once?of=${method}`])).stdout;
  };
  assert.equal(await ask('PUT'), '200');
  assert.equal(await ask('DELETE'), '200');
  assert.equal(await ask('POST'), '502');
});

test('a cookie of ours brings a browser back to its worker, also after a restart of it', async () => {
  await using daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}    load_balancing: { sticky_cookie: stick }
`,
  });
  const jar = path.join(daemon.folder, 'jar');
  const ask = async (): Promise<string> =>
    (await run('curl', ['-sk', '-b', jar, '-c', jar, daemon.origin])).stdout.split(' ').slice(0, 2).join(' ');
  const first = await ask();
  for (let i = 0; i < 6; i++) assert.equal(await ask(), first);
  assert.match(readFileSync(jar, 'utf8'), /#HttpOnly_localhost\tFALSE\t\/\tTRUE\t0\tstick\t[\w-]{22}/);
  const [name, pid] = first.split(' ');
  process.kill(Number(pid), 'SIGKILL');
  await eventually(async () => {
    const worker = (await daemon.status()).services[0]?.workers.find(({ id }) => id.startsWith(name ?? ''));
    return worker?.state === 'ready' && worker.pid !== Number(pid);
  });
  const after = await ask();
  assert.equal(after.split(' ')[0], name);
  assert.notEqual(after, first);
});

test('a reload that replaces every worker loses no request and executes none twice', async () => {
  const site = `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`;
  await using daemon = await startDaemon({ config: site });
  const before = (await daemon.status()).services[0]?.workers.map(({ pid }) => pid) ?? [];
  const over = new AbortController();
  const load = sendAccounted(daemon, { methods: ['GET', 'POST'], connections: 12, signal: over.signal });
  writeConfig(daemon.folder, daemon.ports, site.replace('env: {', 'env: { RELEASE: 2,'));
  const { code, stdout, stderr } = await daemon.verb('reload');
  await eventually(() => daemon.events('worker_stopped').length === 2);
  over.abort();
  const { answers, executions } = await load;
  assert.equal(code, 0, stderr);
  assert.match(stdout, /service web changed/);
  const after = (await daemon.status()).services[0]?.workers.map(({ pid }) => pid) ?? [];
  assert.equal(after.filter((pid) => before.includes(pid)).length, 0);
  assert.ok(answers.length > 100);
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200),
    [],
  );
  assert.ok(answers.every(({ id }) => executions.get(id) === 1));
});

test('a reload whose new workers never become ready keeps the old ones', async () => {
  const site = `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`;
  await using daemon = await startDaemon({ config: site });
  writeConfig(daemon.folder, daemon.ports, site.replace('node worker.mjs', 'node missing.mjs'));
  const { code, stderr } = await daemon.verb('reload');
  assert.equal(code, 1);
  assert.match(stderr, /web: the new worker did not become ready: it ended with exit code 1; nothing was changed/);
  assert.match((await askers(daemon, 1))[0] ?? '', /^web\//);
});

test('a reload that changes how many workers there are touches none of the others', async () => {
  const site = `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`;
  await using daemon = await startDaemon({ config: site });
  const pids = async (): Promise<(number | null)[]> =>
    (await daemon.status()).services[0]?.workers.map(({ pid }) => pid) ?? [];
  const before = await pids();
  writeConfig(daemon.folder, daemon.ports, site.replace('workers: 2', 'workers: 3'));
  assert.equal((await daemon.verb('reload')).code, 0);
  await eventually(async () => (await daemon.status()).services[0]?.workers.every(({ state }) => state === 'ready'));
  assert.deepEqual((await pids()).slice(0, 2), before);
  assert.equal((await pids()).length, 3);
});

const onlyRoot = process.getuid?.() === 0 ? false : 'only root can choose who workers are';
test('a reload that names an unknown user changes nothing', { skip: onlyRoot }, async () => {
  const site = `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`;
  await using daemon = await startDaemon({ config: site });
  writeConfig(daemon.folder, daemon.ports, site.replace('workers: 2', 'workers: 2\n    user: no-such-user'));
  const { code, stderr } = await daemon.verb('reload');
  assert.equal(code, 1);
  assert.match(stderr, /web: there is no user "no-such-user" on this machine; nothing was changed/);
  daemon.child.kill('SIGHUP');
  await eventually(() => daemon.events('reload_refused').length === 2);
  assert.match((await askers(daemon, 1))[0] ?? '', /^web\//);
});
