/** Workers whose event loop is blocked: told from slow ones by what they say to others, ended, and replaced. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon, WorkerView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { createAccountedClient } from './support/load.ts';
import { isRunning, run } from './support/processes.ts';

/** Debian's uvicorn; `/?block=SECONDS` sleeps in its event loop. */
const config = (more: string): string => `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: /usr/bin/python3 -m uvicorn recording_app:app --no-access-log
    directory: FIXTURES
    env: { RECORD: FOLDER/shared/executed, PYTHONDONTWRITEBYTECODE: 1 }
    ${more}
`;

interface Answer {
  readonly code: string;
  readonly retryAfter: string;
  /** The pid of the worker. */
  readonly body: string;
}

async function ask(daemon: Daemon, path: string, seconds = 30): Promise<Answer> {
  const format = '%{http_code} %header{retry-after}\n';
  const args = ['-sk', '--max-time', String(seconds), '-o', '-', '-w', `\n${format}`, `${daemon.origin}${path}`];
  const { stdout } = await run('curl', args);
  const lines = stdout.trimEnd().split('\n');
  const [code = '', retryAfter = ''] = (lines.at(-1) ?? '').split(' ');
  return { code, retryAfter, body: lines[0] ?? '' };
}

async function workers(daemon: Daemon): Promise<readonly WorkerView[]> {
  return (await daemon.status()).services[0]?.workers ?? [];
}

const allReady = async (daemon: Daemon): Promise<boolean> =>
  (await workers(daemon)).every(({ state }) => state === 'ready');

test('one of four workers that blocks its event loop is ended, its guilty frame in the log, and replaced', async () => {
  await using daemon = await startDaemon({ config: config('workers: 4\n    timeouts: { liveness: 2s }') });
  const before = (await workers(daemon)).map(({ pid }) => pid);
  const stuck = ask(daemon, '/?block=60');
  const killed = await eventually(() => daemon.events('worker_killed')[0], { withinMs: 8_000 });
  assert.equal(killed['reason'], 'liveness');
  const { worker } = killed;
  for (let i = 0; i < 8; i++) assert.equal((await ask(daemon, '/')).code, '200');
  assert.equal((await stuck).code, '502', 'nobody else is given what it hung at');
  const frames = daemon.events('worker_output').filter((event) => event['worker'] === worker);
  assert.ok(
    frames.some(({ line }) => /recording_app\.py", line \d+ in block_the_loop/.test(String(line))),
    JSON.stringify(frames),
  );
  await eventually(() => !isRunning(Number(killed['pid'])));
  await eventually(() => allReady(daemon));
  const after = (await workers(daemon)).map(({ pid }) => pid);
  assert.equal(after.filter((pid) => before.includes(pid)).length, 3);
});

test('when all four block none is ended: requests are sent away with 503 until they go on', async () => {
  const more = 'workers: 4\n    concurrency: 1\n    queue: { max: 2, timeout: 1s }\n    timeouts: { liveness: 2s }';
  await using daemon = await startDaemon({ config: config(more) });
  const before = (await workers(daemon)).map(({ pid }) => pid);
  using client = createAccountedClient(daemon, 4);
  // All wake at once: the last of them would be the only one that does not answer.
  const until = Date.now() / 1_000 + 9;
  const blocked = Array.from({ length: 4 }, () => client.send('GET', `/?until=${until}`));
  await eventually(() => daemon.events('workers_do_not_answer').length > 0);
  for (const { code, retryAfter } of await Promise.all(Array.from({ length: 4 }, () => ask(daemon, '/')))) {
    assert.equal(code, '503');
    assert.ok(Number(retryAfter) > 0);
  }
  assert.deepEqual([...new Set((await Promise.all(blocked)).map(({ status }) => status))], [200]);
  await eventually(() => allReady(daemon));
  assert.equal((await ask(daemon, '/')).code, '200');
  assert.deepEqual(daemon.events('worker_killed'), []);
  assert.deepEqual(
    (await workers(daemon)).map(({ pid }) => pid),
    before,
  );
});

test('of two workers, one that hangs is ended while the other answers, also when its clients have given up', async () => {
  const checks = 'health_check: { interval: 1s, timeout: 500ms, fall: 2 }';
  await using daemon = await startDaemon({
    config: config(`workers: 2\n    ${checks}\n    timeouts: { liveness: 2s }`),
  });
  const before = (await workers(daemon)).map(({ pid }) => pid);
  await ask(daemon, '/?block=60', 1);
  const killed = await eventually(() => daemon.events('worker_killed')[0], { withinMs: 15_000 });
  assert.equal(killed['reason'], 'liveness');
  assert.equal((await ask(daemon, '/')).code, '200');
  await eventually(async () => (await allReady(daemon)) && !isRunning(Number(killed['pid'])));
  assert.equal((await workers(daemon)).filter(({ pid }) => before.includes(pid)).length, 1);
});

test('a worker that takes long over one request and answers others meanwhile goes on', async () => {
  await using daemon = await startDaemon({ config: config('workers: 2\n    timeouts: { liveness: 1s }') });
  const slow = await Promise.all([ask(daemon, '/?ms=4000'), ask(daemon, '/?ms=4000')]);
  assert.deepEqual(
    slow.map(({ code }) => code),
    ['200', '200'],
  );
  assert.equal(new Set(slow.map(({ body }) => body)).size, 2, 'each worker has had one');
  assert.deepEqual(daemon.events('worker_killed'), []);
});
