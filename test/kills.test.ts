/** What is left standing when something is killed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { FIXTURES, RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon, WorkerView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { sendAccounted, wrk } from './support/load.ts';
import { assertPauses } from './support/pauses.ts';
import { isRunning, processesWith, run } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';
import type { RawClient } from './support/raw.ts';
import { clientPortsOf } from './support/sockets.ts';
import { sleep } from '../src/lifecycle.ts';

const SITE = `sites: [{ hosts: [localhost, 127.0.0.1], service: web }]${RECORDING_SERVICE}`;

async function workers(daemon: Daemon): Promise<readonly WorkerView[]> {
  return (await daemon.status()).services[0]?.workers ?? [];
}

async function get(daemon: Daemon, target = '/'): Promise<string> {
  const { stdout } = await run('curl', [
    '-sSk',
    '--max-time',
    '5',
    '-w',
    '%{http_code}',
    '-o',
    '/dev/null',
    daemon.origin + target,
  ]);
  return stdout;
}

test('kill -9 of a worker under wrk costs no GET, and it is back within 3 s', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const load = wrk(daemon, 6);
  await sleep(1_500);
  const victim = (await workers(daemon))[0]?.pid ?? assert.fail('no worker');
  process.kill(victim, 'SIGKILL');
  const killedAt = Date.now();
  await eventually(
    async () => {
      const now = await workers(daemon);
      return now.every(({ state, pid }) => state === 'ready' && pid !== victim);
    },
    { withinMs: 3_000 },
  );
  const backAfterMs = Date.now() - killedAt;
  const result = await load;
  assert.ok(result.requests > 500, result.text);
  assert.equal(result.bad, 0, result.text);
  assert.equal(result.socketErrors, 0, result.text);
  assert.ok(backAfterMs <= 3_000, `${backAfterMs} ms`);
});

test('accounts for every request while workers are killed: no GET lost, no POST executed twice', async () => {
  await using daemon = await startDaemon({ config: SITE.replace('workers: 2', 'workers: 3') });
  const over = new AbortController();
  const load = sendAccounted(daemon, { methods: ['GET', 'POST', 'GET'], connections: 16, signal: over.signal });
  for (let round = 0; round < 3; round++) {
    await sleep(700);
    const ready = (await workers(daemon)).filter(({ state }) => state === 'ready');
    if (ready.length === 0) over.abort();
    process.kill(ready[0]?.pid ?? assert.fail(`no worker is ready: ${daemon.log()}`), 'SIGKILL');
    await eventually(async () => (await workers(daemon)).filter(({ state }) => state === 'ready').length >= 2, {
      withinMs: 5_000,
    });
  }
  await sleep(500);
  over.abort();
  const { answers, executions } = await load;
  assert.ok(answers.length > 300, String(answers.length));
  const failed = answers.filter(({ status }) => status !== 200);
  assert.deepEqual(
    failed.filter(({ method }) => method === 'GET'),
    [],
  );
  // A POST a worker had when it died is answered with 502, once per killed worker and connection at most.
  assert.ok(
    failed.every(({ status }) => status === 502),
    JSON.stringify(failed),
  );
  for (const { id, method, status } of answers) {
    const times = executions.get(id) ?? 0;
    if (method === 'POST') assert.ok(times <= 1, `${id} was executed ${times} times`);
    if (status === 200) assert.ok(times >= 1, `${id} was answered but never executed`);
    assert.ok(times <= 2, `${id} was executed ${times} times`);
  }
  const sent = new Set(answers.map(({ id }) => id));
  for (const id of executions.keys()) assert.ok(sent.has(id), `${id} was executed but never sent`);
});

test('kill -9 of a proxy process leaves the port answering, and it is replaced', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const victim = (await daemon.status()).proxies[0]?.pid ?? assert.fail('no proxy');
  process.kill(victim, 'SIGKILL');
  for (let i = 0; i < 20; i++) assert.equal(await get(daemon), '200', `request ${i} after the kill`);
  await eventually(async () => {
    const { proxies } = await daemon.status();
    return proxies.every(({ state, pid }) => state === 'ready' && pid !== victim);
  });
  for (let i = 0; i < 10; i++) assert.equal(await get(daemon), '200');
});

test('connections are shared by the proxies, and kill -9 of one ends only its own', async () => {
  await using daemon = await startDaemon({ config: `proxy_processes: 2\n${SITE}` });
  const clients = await Promise.all(Array.from({ length: 60 }, () => connectRaw(daemon)));
  const pids = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
  const [own, other] = pids.map((pid) => clientPortsOf(pid, daemon.ports.https));
  assert.ok(own !== undefined && other !== undefined);
  assert.equal(own.size + other.size, clients.length);
  // One in 40,000 runs of an even spread has fewer.
  assert.ok(own.size >= 15 && other.size >= 15, `${own.size} and ${other.size}`);
  process.kill(pids[0] ?? 0, 'SIGKILL');
  const isOwn = ({ socket }: RawClient): boolean => own.has(socket.localPort ?? 0);
  await Promise.all(
    clients.map(async (client) => {
      if (isOwn(client)) return void (await client.closed());
      client.send('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
      assert.match(await client.closed(), /^HTTP\/1\.1 200 /);
    }),
  );
});

test('kill -9 of the control plane leaves no process after 2 s, and the next start works', async () => {
  const marker = `kill-${process.pid}`;
  const config = SITE.replace('RECORD:', `MARKER: ${marker}, RECORD:`);
  await using daemon = await startDaemon({ config });
  const pids = [
    ...(await workers(daemon)).flatMap(({ pid }) => pid ?? []),
    ...(await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []),
  ];
  assert.equal(pids.length, 4);
  assert.equal(processesWith('MARKER', marker).length, 2);
  daemon.child.kill('SIGKILL');
  await eventually(() => pids.every((pid) => !isRunning(pid)), { withinMs: 2_000 });
  assert.deepEqual(processesWith('MARKER', marker), []);

  await using next = await startDaemon({ config, folder: daemon.folder, ports: daemon.ports });
  assert.equal(await get(next), '200');
});

for (const [where, env] of [
  ['', {}],
  [', also where setpriv is missing', { PATH: '/nowhere' }],
] as const) {
  test(`kill -9 of the control plane with 4 uvicorn workers leaves none after 2 s, and the next start needs no manual step${where}`, async () => {
    const marker = `uvicorn-${process.pid}-${where.length}`;
    const config = `sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: /usr/bin/uvicorn fastapi_app:app
    directory: FIXTURES
    workers: 4
    env: { MARKER: ${marker}, PYTHONDONTWRITEBYTECODE: 1 }
`;
    await using daemon = await startDaemon({ config, env });
    const missing = daemon.events('worker_command').filter(({ warning }) => String(warning).includes('setpriv(1)'));
    assert.equal(missing.length, where === '' ? 0 : 1);
    // TERM would let it end first, which takes minutes.
    const slow = run('curl', [
      '-sSk',
      '--limit-rate',
      '1M',
      '-o',
      '/dev/null',
      `${daemon.origin}/download?size=900000000`,
    ]);
    await eventually(async () => (await workers(daemon)).some((worker) => worker.in_flight > 0));
    const pids = processesWith('MARKER', marker);
    assert.equal(pids.length, 4);
    daemon.child.kill('SIGKILL');
    await eventually(() => pids.every((pid) => !isRunning(pid)), { withinMs: 2_000 });
    assert.deepEqual(processesWith('MARKER', marker), []);
    await slow;

    await using next = await startDaemon({ config, env, folder: daemon.folder, ports: daemon.ports });
    assert.equal(processesWith('MARKER', marker).length, 4);
    assert.equal(await get(next, '/who'), '200');
  });
}

test('leaves no grandchild either, when TERM is ignored and a worker has children', async () => {
  const marker = `family-${process.pid}`;
  const config = `sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: [sh, -c, "sleep 1000 & exec node worker.mjs {socket}"]
    directory: ${FIXTURES}
    workers: 1
    env: { MARKER: ${marker}, BEHAVIOUR: ignore-term }
    timeouts: { stop: 500ms }
`;
  await using daemon = await startDaemon({ config });
  assert.equal(processesWith('MARKER', marker).length, 2);
  daemon.child.kill('SIGTERM');
  assert.equal(await daemon.exited, 0);
  assert.deepEqual(processesWith('MARKER', marker), []);
  assert.match(daemon.log(), /"event":"worker_killed"/);
});

test('TERM lets requests end, takes no new ones, and is over within the grace period', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const slow = run('curl', ['-sSk', '--max-time', '20', `${daemon.origin}/slow?ms=2000`, '-H', 'x-id: s1']);
  await eventually(() => {
    try {
      return readFileSync(path.join(daemon.folder, 'shared/executed'), 'utf8').includes('s1 ');
    } catch {
      return false;
    }
  });
  const begun = Date.now();
  daemon.child.kill('SIGTERM');
  assert.equal((await slow).stdout, 'slow s1');
  assert.equal(await daemon.exited, 0);
  assert.ok(Date.now() - begun < 25_000);
  assert.notEqual((await run('curl', ['-sSk', '--max-time', '2', `${daemon.origin}/`])).code, 0);
});

test('a second TERM ends it at once, with everything it started', async () => {
  const marker = `twice-${process.pid}`;
  await using daemon = await startDaemon({ config: SITE.replace('RECORD:', `MARKER: ${marker}, RECORD:`) });
  const slow = run('curl', ['-sSk', '--max-time', '20', `${daemon.origin}/slow?ms=15000`]);
  await eventually(async () => (await workers(daemon)).some((worker) => worker.in_flight > 0));
  daemon.child.kill('SIGTERM');
  await eventually(() => daemon.events('stopping').length === 1);
  // Within a moment it would be the same Ctrl-C.
  await sleep(400);
  daemon.child.kill('SIGTERM');
  await daemon.exited;
  await eventually(() => processesWith('MARKER', marker).length === 0, { withinMs: 2_000 });
  await slow;
});

test('a worker that cannot start is told of with its reason, and tried again with pauses', async () => {
  const config = `sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: "node -e 'console.error(\\"no database\\"); process.exit(7)'", directory: ${FIXTURES}, workers: 1, queue: { max: 0 } }
`;
  await using daemon = await startDaemon({ config, started: false });
  await eventually(() => daemon.events('worker_exited').length >= 2);
  const [first, second] = daemon.events('worker_exited');
  assert.equal(first?.['exit'], 'exit code 7');
  assertPauses([first?.['restart_in_ms'], second?.['restart_in_ms']], [1_000, 2_000]);
  assert.ok(daemon.events('worker_output').some(({ line }) => line === 'no database'));
  // On a busy machine the proxies may take longer to start than the worker to fail.
  await eventually(async () => (await get(daemon)) === '503');
});
