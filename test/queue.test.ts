/** How many requests a worker gets at once, who waits, and how streams end at a worker that leaves. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { startDaemon, writeConfig } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

/** Answers each request when told to, in the order they came. */
async function startUpstream() {
  const waiting: { url: string; response: http.ServerResponse }[] = [];
  const seen: string[] = [];
  const server = http.createServer((request, response) => {
    const url = request.url ?? '';
    if (url === '/') return response.end('probe');
    if (url === '/events') {
      response.setHeader('content-type', 'text/event-stream');
      return response.write('data: first\n\n');
    }
    seen.push(url);
    return waiting.push({ url, response });
  });
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.send('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    waiting,
    seen,
    [Symbol.dispose]: () => {
      server.closeAllConnections();
      for (const socket of sockets.clients) socket.terminate();
      server.close();
    },
  };
}

const config = (ports: readonly number[], more: string): string => `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    upstreams: [${ports.map((port) => `"http://127.0.0.1:${port}"`).join(', ')}]
    health_check: { path: / }
${more}`;

const ask = (daemon: Daemon, path: string, ...args: string[]): Promise<string> =>
  run('curl', ['-sik', '--max-time', '15', ...args, `${daemon.origin}${path}`]).then(({ stdout }) => stdout);

test('a worker gets no more than it may, the rest waits, and one too many hears that the app is busy', async () => {
  using upstream = await startUpstream();
  const { waiting, seen } = upstream;
  await using daemon = await startDaemon({
    config: config([upstream.port], '    concurrency: 2\n    queue: { max: 2, timeout: 10s }\n'),
  });
  const answers: Promise<string>[] = [];
  for (const path of ['/a', '/b']) {
    answers.push(ask(daemon, path));
    await eventually(() => seen.includes(path));
  }
  const gone = ask(daemon, '/gone', '--max-time', '1');
  await gone;
  // Two find a place in the queue; the one that does not is the only one to be answered now.
  const three = ['/c', '/d', '/e'].map((path) => ask(daemon, path));
  const refused = await Promise.race(three);
  assert.match(refused, /^HTTP\/\S+ 503 [^]*retry-after: 5[^]*the app is busy/i);
  assert.deepEqual(seen, ['/a', '/b']);
  for (let i = 0; i < 4; i++) {
    const next = await eventually(() => waiting.shift());
    next.response.end(next.url);
  }
  for (const answer of await Promise.all(answers)) assert.match(answer, / 200 /);
  assert.equal((await Promise.all(three)).filter((answer) => / 200 /.test(answer)).length, 2);
  assert.equal(seen.includes('/gone'), false, 'who left while waiting is asked for no more');
});

test('when a worker leaves, its WebSockets are told to come again and its streams of events end', async () => {
  using leaving = await startUpstream();
  using staying = await startUpstream();
  const streams = '    timeouts: { streams: 100ms }\n';
  await using daemon = await startDaemon({ config: config([leaving.port], streams) });
  const socket = new WebSocket(daemon.origin.replace('https', 'wss'), { rejectUnauthorized: false });
  await once(socket, 'message');
  const events = ask(daemon, '/events', '--http1.1');
  await eventually(async () => (await ask(daemon, '/')).includes('probe'));
  const closed = once(socket, 'close') as Promise<[number]>;
  writeConfig(daemon.folder, daemon.ports, config([staying.port], streams));
  assert.equal((await daemon.verb('reload')).code, 0);
  assert.equal((await closed)[0], 1012);
  assert.match(await events, / 200 [^]*data: first\n\n$/);
});
