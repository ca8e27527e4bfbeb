/** Exceptions of our own code, put where none should be: each is an event, and the end of nothing. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { freePort, RECORDING_SERVICE, startDaemon, temporaryFolder } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { callDaemon } from '../src/cli/admin_client.ts';
import { startAdminServer, taking } from '../src/control/admin.ts';
import { createFeed } from '../src/control/dashboard/feed.ts';
import { keepHistory } from '../src/control/dashboard/history.ts';
import { startMetricsServer } from '../src/control/metrics/server.ts';
import { createRecentEvents } from '../src/control/recent_events.ts';
import { createLogger } from '../src/log.ts';
import type { LoggedEvent } from '../src/log.ts';

const fail = (): never => {
  throw new Error('injected');
};

function listen() {
  const events: LoggedEvent[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: () => {}, observe: (event) => events.push(event) });
  return { log, defects: () => events.filter(({ event }) => event === 'defect').length };
}

test('a promise that nobody waits for is rejected in the control plane: an event, a count, and all goes on', async () => {
  const folder = temporaryFolder();
  const injection = path.join(folder, 'injection.mjs');
  writeFileSync(
    injection,
    `if (process.env.PROXY_ROLE !== 'proxy') process.on('SIGUSR2', () => void Promise.reject(new Error('injected\\n\\u001b[2J')));\n`,
  );
  const port = await freePort();
  {
    await using daemon = await startDaemon({
      config: `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}metrics: { address: "127.0.0.1:${port}" }\n`,
      folder,
      env: { NODE_OPTIONS: `--import=${injection}` },
    });
    const before = await daemon.status();
    daemon.child.kill('SIGUSR2');
    daemon.child.kill('SIGUSR2');
    const [event] = await eventually(() => {
      const events = daemon.events('defect');
      return events.length > 0 && events;
    });
    assert.equal(event?.['error'], 'injected\n\u001b[2J');
    assert.match(String(event?.['stack']), /injection\.mjs/);
    assert.doesNotMatch(daemon.log(), /\u001b/);
    const { stdout } = await run('curl', ['-sS', `http://127.0.0.1:${port}/metrics`]);
    assert.match(stdout, /^proxy_defects_total [12]$/m);
    assert.match((await daemon.verb('status')).stdout, /[12] exceptions of the program itself were survived/);
    const after = await daemon.status();
    const pids = ({ services }: typeof after) => services.flatMap(({ workers }) => workers.map(({ pid }) => pid));
    assert.deepEqual(pids(after), pids(before));
    const served = await run('curl', ['-sS', '--cacert', daemon.ca, `${daemon.origin}/hello`]);
    assert.equal(served.code, 0, served.stderr);
  }
  rmSync(folder, { recursive: true });
});

test('a verb of the admin socket that throws, at once, later or when it tells something, fails alone', async () => {
  const folder = temporaryFolder();
  const { log, defects } = listen();
  const socket = path.join(folder, 'admin.sock');
  {
    await using _ = await startAdminServer(
      socket,
      {
        'GET /v1/now': taking([], fail),
        'GET /v1/later': taking([], async () => fail()),
        'GET /v1/told': taking([], async (_input, _signal, tell) => tell(1n)),
        'GET /v1/answer': taking([], async () => ({ big: 1n })),
        'GET /v1/well': taking([], async () => ({ ok: true })),
      },
      log,
    );
    for (const verb of ['now', 'later', 'told', 'answer']) {
      const before = defects();
      const options = verb === 'told' ? { onProgress: () => {} } : {};
      await assert.rejects(callDaemon(socket, 'GET', `/v1/${verb}`, undefined, options), verb);
      await eventually(() => defects() === before + 1);
      assert.deepEqual(await callDaemon(socket, 'GET', '/v1/well'), { ok: true });
    }
  }
  rmSync(folder, { recursive: true });
});

test('a page of metrics or a feed that throws fails alone, and charts go on', async () => {
  const { log, defects } = listen();
  const stopping = new AbortController();
  const events = createRecentEvents();
  const history = keepHistory(fail, log, stopping.signal);
  await eventually(() => defects() === 1);
  let fails = true;
  const feed = createFeed({ status: () => (fails ? fail() : {}), history, events, log });
  const server = await startMetricsServer(
    { host: '127.0.0.1', port: 0, token: null },
    () => ({
      '/metrics': { open: true, respond: fail },
      '/feed': { open: true, respond: (_, response) => void feed.serve(response) },
      '/livez': { open: true, respond: (_, response) => void response.end('alive') },
    }),
    log,
  );
  const status = (target: string) =>
    new Promise<number>((resolve) => {
      const request = http.get({ port: server.port, path: target }, (response) => {
        resolve(response.statusCode ?? 0);
        response.on('error', () => {}).resume();
      });
      request.on('error', () => resolve(0));
    });
  assert.equal(await status('/metrics'), 500);
  await status('/feed');
  await eventually(() => defects() >= 3);
  assert.equal(await status('/livez'), 200);
  fails = false;
  assert.equal(await status('/feed'), 200);
  // Who listens to the log and throws is heard of no more; the others are.
  const heard: string[] = [];
  using _ = events.follow(fail);
  using _also = events.follow(({ event }) => heard.push(event));
  for (const event of ['first', 'second']) events.observe({ at: new Date(), level: 'info', event, fields: {} });
  assert.deepEqual(heard, ['first', 'second']);
  stopping.abort();
  server.close();
});
