/** A proxy that may have few descriptors: strangers cannot take those it needs to ask workers. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import tls from 'node:tls';
import { test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';

const LIMIT = 120;

test('more connections than there are descriptors for are turned away, those before are answered, and so are those after', async () => {
  await using daemon = await startDaemon({
    config: `proxy_processes: 1\nsites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`,
    wrapper: ['prlimit', `--nofile=${LIMIT}:${LIMIT}`],
  });
  const proxy = (await daemon.status()).proxies[0]?.pid ?? assert.fail('no proxy');
  using early = await connectRaw(daemon);
  const crowd = Array.from({ length: 2 * LIMIT }, () => {
    const { https: port } = daemon.ports;
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
    return socket.on('error', () => {});
  });
  const held = await eventually(
    () => crowd.every(({ closed, authorizationError }) => closed || authorizationError) && crowd,
  );
  assert.ok(held.filter(({ closed }) => !closed).length < LIMIT / 3);
  for (let i = 0; i < 20; i++) {
    early.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await early.until(new RegExp(`^(HTTP/1.1 200 [^]*?){${i + 1}}`));
  }
  assert.ok(daemon.events('few_open_files').length > 0);
  await Promise.all(
    crowd.map(async (socket) => {
      if (socket.closed) return;
      socket.destroy();
      await once(socket, 'close');
    }),
  );
  await eventually(async () => {
    const { stdout } = await run('curl', ['-sk', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}/`]);
    return stdout === '200';
  });
  assert.deepEqual(daemon.events('proxy_exited'), []);
  assert.equal((await daemon.status()).proxies[0]?.pid, proxy);
});
