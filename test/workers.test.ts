/** Workers of a running daemon: replaced, given up, recycled, scaled, without a request lost. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { FIXTURES, startDaemon, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Daemon, WorkerView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { sendAccounted } from './support/load.ts';
import { assertPauses } from './support/pauses.ts';
import { isRunning, run } from './support/processes.ts';

const SITE = 'sites: [{ hosts: [localhost], service: web }]';

function service(more: string, command = 'node worker.mjs {socket}'): string {
  return `${SITE}
services:
  web:
    command: ${JSON.stringify(command)}
    directory: FIXTURES
    env: { RECORD: FOLDER/shared/executed }
    ${more}
`;
}

async function workers(daemon: Daemon): Promise<readonly WorkerView[]> {
  return (await daemon.status()).services[0]?.workers ?? [];
}

async function code(daemon: Daemon): Promise<string> {
  const { stdout } = await run('curl', ['-sSk', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}/`]);
  return stdout;
}

test('proxy restart replaces all workers under load: no request fails, none is done twice', async () => {
  // A whole boot long, nobody may notice that there is one.
  const slow = service('workers: 2').replace('env: {', 'env: { BOOT_MS: 3000,');
  await using daemon = await startDaemon({ config: slow });
  const before = (await workers(daemon)).map(({ pid }) => pid);
  const over = new AbortController();
  const load = sendAccounted(daemon, { methods: ['GET', 'POST'], connections: 20, signal: over.signal });
  const { code: exit, stdout, stderr } = await daemon.verb('restart', 'web');
  over.abort();
  const { answers, executions } = await load;
  assert.equal(exit, 0, stderr);
  assert.match(stdout, /web is restarted/);
  const after = await workers(daemon);
  assert.ok(after.every(({ pid, state }) => state === 'ready' && !before.includes(pid)));
  assert.ok(answers.length > 1_000);
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200),
    [],
  );
  assert.ok(answers.every(({ id }) => executions.get(id) === 1));
});

test('what cannot be restarted or scaled is told, with exit code 1', async () => {
  await using daemon = await startDaemon({ config: service('workers: 1') });
  for (const words of [
    ['restart'],
    ['restart', 'nope'],
    ['scale', 'web'],
    ['scale', 'web', '0'],
    ['scale', 'web', 'x'],
  ]) {
    const { code: exit, stderr } = await daemon.verb(...words);
    assert.equal(exit, 1, words.join(' '));
    assert.match(stderr, /service|workers|number/);
  }
});

test('proxy scale adds workers at once and takes them away without losing a request', async () => {
  await using daemon = await startDaemon({ config: service('workers: 1') });
  assert.equal((await daemon.verb('scale', 'web', '3')).code, 0);
  await eventually(async () => (await workers(daemon)).filter(({ state }) => state === 'ready').length === 3);
  const over = new AbortController();
  const load = sendAccounted(daemon, { methods: ['GET', 'POST'], connections: 12, signal: over.signal });
  assert.equal((await daemon.verb('scale', 'web', 'auto')).code, 0);
  over.abort();
  const { answers } = await load;
  assert.equal((await workers(daemon)).length, 1);
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200),
    [],
  );
});

test('an app that ends at its start is tried ever more seldom while visitors are told; mended, it is back by a word', async () => {
  const folder = temporaryFolder();
  const app = path.join(folder, 'shared/app.mjs');
  const script = `import fs from 'node:fs';
if (!fs.existsSync('${folder}/shared/mended')) process.exit(3);
await import('${FIXTURES}/worker.mjs');
`;
  writeFileSync(app, script);
  await using daemon = await startDaemon({
    config: service('workers: 2\n    queue: { max: 0 }', `node ${app} {socket}`),
    folder,
    started: false,
  });
  await eventually(() => daemon.events('worker_exited').length >= 2);
  const exits = daemon.events('worker_exited').slice(0, 2);
  assertPauses(
    exits.map(({ restart_in_ms: pause }) => pause),
    [1_000, 2_000],
  );
  assert.ok(exits.every(({ reason }) => reason === 'boot'));
  await eventually(async () => {
    const { stdout } = await run('curl', ['-sSki', `${daemon.origin}/`]);
    return /^HTTP\/\S+ 503[^]*\r\nretry-after: \d+\r\n[^]*restarted/i.test(stdout);
  });
  writeFileSync(path.join(folder, 'shared/mended'), '');
  assert.equal((await daemon.verb('restart', 'web')).code, 0);
  assert.equal(await code(daemon), '200');
});

test('a worker that is stopped leaves balancing within its checks, and comes back when it goes on', async () => {
  const checks = 'health_check: { interval: 1s, timeout: 1s, fall: 3 }';
  await using daemon = await startDaemon({ config: service(`workers: 2\n    ${checks}`) });
  const [first] = await workers(daemon);
  const pid = first?.pid ?? 0;
  const state = async (): Promise<string | undefined> => (await workers(daemon))[0]?.state;
  process.kill(pid, 'SIGSTOP');
  try {
    await eventually(async () => (await state()) === 'unhealthy', { withinMs: 6_000 });
    for (let i = 0; i < 4; i++) assert.equal(await code(daemon), '200');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await eventually(async () => (await state()) === 'ready', { withinMs: 6_000 });
  assert.equal((await workers(daemon))[0]?.pid, pid);
});

test('a worker that has grown is replaced by one that is ready first', async () => {
  const leak = `const http = require('http'); const kept = [];
    http.createServer((q, s) => { if (q.url === '/leak') kept.push(Buffer.alloc(40 * 1024 * 1024, 1)); s.end('ok'); }).listen(process.argv[1])`;
  const command = ['node', '-e', leak.replaceAll('\n', ' '), '{socket}'];
  const config = `${SITE}\nservices:\n  web: { command: ${JSON.stringify(command)}, directory: FIXTURES, workers: 1, memory: { soft: 150MiB } }\n`;
  await using daemon = await startDaemon({ config });
  const [before] = await workers(daemon);
  for (let i = 0; i < 4; i++) await run('curl', ['-sSk', `${daemon.origin}/leak`]);
  await eventually(async () => ((await workers(daemon))[0]?.memory ?? 0) > 160 * 1024 * 1024);
  await eventually(async () => ((await workers(daemon))[0]?.cpu ?? -1) >= 0);
  const over = new AbortController();
  const load = (async () => {
    const codes: string[] = [];
    while (!over.signal.aborted) codes.push(await code(daemon));
    return codes;
  })();
  await eventually(() => daemon.events('worker_recycled').length > 0, { withinMs: 25_000 });
  await eventually(async () => ![before?.pid, null].includes((await workers(daemon))[0]?.pid ?? null), {
    withinMs: 10_000,
  });
  over.abort();
  assert.deepEqual([...new Set(await load)], ['200']);
  assert.equal(daemon.events('worker_recycled')[0]?.['reason'], 'memory');
  await eventually(() => !isRunning(before?.pid ?? 0));
});

test('a service that serves nothing is watched and restarted, and needs no route', async () => {
  const beat = 'const fs = require("fs"); setInterval(() => fs.appendFileSync(process.argv[1], "x"), 50)';
  const jobs = `  jobs: { command: ${JSON.stringify(['node', '-e', beat, 'FOLDER/shared/beats'])}, directory: FIXTURES, health_check: process, workers: 1 }\n`;
  await using daemon = await startDaemon({ config: `${service('workers: 1')}${jobs}` });
  const beats = path.join(daemon.folder, 'shared/beats');
  await eventually(() => existsSync(beats) && readFileSync(beats).length > 2);
  const worker = async (): Promise<WorkerView | undefined> =>
    (await daemon.status()).services.find(({ name }) => name === 'jobs')?.workers[0];
  await eventually(async () => (await worker())?.state === 'ready');
  const pid = (await worker())?.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await eventually(async () => (await worker())?.state === 'ready' && (await worker())?.pid !== pid);
});

test('a rollout of code that does not start leaves the old workers serving, and says what it wrote', async () => {
  await using daemon = await startDaemon({ config: service('workers: 2') });
  const before = (await workers(daemon)).map(({ pid }) => pid);
  writeConfig(daemon.folder, daemon.ports, service('workers: 2', 'node missing.mjs {socket}'));
  const { code: exit, stderr } = await daemon.verb('reload');
  assert.equal(exit, 1, stderr);
  assert.deepEqual(
    (await workers(daemon)).map(({ pid }) => pid),
    before,
  );
  assert.equal(await code(daemon), '200');
  const [failed] = daemon.events('roll_failed');
  assert.match(JSON.stringify(failed?.['output']), /missing\.mjs/);
});
