/** Idle connections to workers, which may close them at any moment. */
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { createAccountedClient } from './support/load.ts';
import { run } from './support/processes.ts';
import { sleep } from '../src/lifecycle.ts';

interface Upstream extends AsyncDisposable {
  readonly port: number;
  /** Requests of each connection, in the order they were opened. */
  readonly requests: number[];
}

/** Answers with its name; `keepAlive` is what it says of its idle time; closes at every request on a connection but the first. */
async function startUpstream(name: string, { keepAlive = '', once = false } = {}): Promise<Upstream> {
  const requests: number[] = [];
  const indexes = new WeakMap<Socket, number>();
  const server = http.createServer((request, response) => {
    const index = indexes.get(request.socket) ?? 0;
    const count = (requests[index] = (requests[index] ?? 0) + 1);
    if (once && count > 1) return request.socket.destroy();
    response.setHeader('connection', 'keep-alive');
    if (keepAlive !== '') response.setHeader('keep-alive', keepAlive);
    response.end(name);
  });
  server.on('connection', (socket) => void indexes.set(socket, requests.push(0) - 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function start(upstreams: readonly Upstream[], more = ''): Promise<Daemon> {
  return startDaemon({
    config: `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    upstreams: [${upstreams.map(({ port }) => `"http://127.0.0.1:${port}"`).join(', ')}]
    health_check: { interval: 1h }
    timeouts: { idle: 1h }
${more}`,
  });
}

test('a GET that meets the end of an idle connection goes to the same upstream anew when there is no other', async () => {
  await using upstream = await startUpstream('one', { once: true });
  await using daemon = await start([upstream]);
  using client = createAccountedClient(daemon, 1);
  for (let i = 0; i < 6; i++) assert.equal((await client.send('GET')).status, 200, `request ${i}`);
  // It may have executed it: nobody may ask twice.
  assert.equal((await client.send('POST')).status, 502);
  assert.equal((await client.send('POST')).status, 200);
});

test('a second idle connection is not tried in place of the first', async () => {
  await using upstream = await startUpstream('one', { once: true });
  await using daemon = await start([upstream]);
  using client = createAccountedClient(daemon, 8);
  for (let round = 0; round < 4; round++) {
    const answers = await Promise.all(Array.from({ length: 8 }, () => client.send('GET')));
    assert.deepEqual(
      answers.filter(({ status }) => status !== 200),
      [],
    );
  }
});

test('whoever is bound to an upstream stays with it when an idle connection ends', async () => {
  await using one = await startUpstream('one', { once: true });
  await using two = await startUpstream('two', { once: true });
  await using daemon = await start([one, two], '    load_balancing: { policy: hash, hash: client }\n');
  const targets = Array.from({ length: 8 }, () => `${daemon.origin}/`);
  const { stdout } = await run('curl', ['-sSk', '-w', '\n', ...targets]);
  const names = new Set(stdout.trim().split('\n'));
  assert.equal(names.size, 1, stdout);
});

test('an idle connection is used only well within the time its worker gives it', async () => {
  const cases = [
    { keepAlive: 'timeout=0', pauseMs: 0, perConnection: [1, 1, 1] },
    { keepAlive: 'timeout=1', pauseMs: 600, perConnection: [1, 1, 1] },
    { keepAlive: 'timeout=1', pauseMs: 0, perConnection: [3] },
    { keepAlive: 'timeout=5, max=100', pauseMs: 600, perConnection: [3] },
  ];
  await using stack = new AsyncDisposableStack();
  const upstreams: Upstream[] = [];
  for (const { keepAlive } of cases) upstreams.push(stack.use(await startUpstream('one', { keepAlive })));
  const service = ({ port }: Upstream, i: number): string =>
    `  s${i}: { upstreams: ["http://127.0.0.1:${port}"], health_check: { interval: 1h } }`;
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
sites: [{ hosts: [localhost], routes: [${cases.map((_, i) => `{ path: /${i}/, service: s${i} }`).join(', ')}] }]
services:
${upstreams.map(service).join('\n')}
`,
  });
  using client = createAccountedClient(daemon, cases.length);
  const ask = async ({ pauseMs }: (typeof cases)[number], i: number): Promise<void> => {
    for (let turn = 0; turn < 3; turn++) {
      assert.equal((await client.send('GET', `/${i}/`)).status, 200);
      await sleep(pauseMs);
    }
  };
  const before = upstreams.map(({ requests }) => requests.length);
  await Promise.all(cases.map(ask));
  assert.deepEqual(
    upstreams.map(({ requests }, i) => requests.slice(before[i])),
    cases.map(({ perConnection }) => perConnection),
  );
});
