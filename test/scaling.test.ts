/** How many workers a running service has: by its load, unless an operator says otherwise. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon, ServiceView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { createAccountedClient } from './support/load.ts';

const CONFIG = `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: node worker.mjs {socket}
    directory: FIXTURES
    env: { RECORD: FOLDER/shared/executed }
    workers: { min: 1, max: 3, down_after: 10s }
    concurrency: 2
    queue: { max: 1000, timeout: 60s }
`;

async function web(daemon: Daemon): Promise<ServiceView> {
  return (await daemon.status()).services[0] ?? assert.fail('no service');
}

function ready({ workers }: ServiceView): number {
  return workers.filter(({ state }) => state === 'ready').length;
}

test('requests that wait bring workers up to max; status and log say why', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  using client = createAccountedClient(daemon, 100);
  const answers = Promise.all(Array.from({ length: 100 }, () => client.send('GET', '/slow?ms=300')));
  await eventually(async () => ready(await web(daemon)) === 3, { withinMs: 15_000 });
  const [first] = daemon.events('service_scaled');
  assert.deepEqual([first?.['from'], first?.['to']], [1, 2]);
  assert.match(String(first?.['reason']), /requests waited/);
  assert.ok((await answers).every(({ status }) => status === 200));
  const { scaling } = await web(daemon);
  assert.equal(scaling?.overridden, false);
  assert.match(scaling?.last?.reason ?? '', /load|requests|busy/);
  const { stdout } = await daemon.verb('status');
  assert.match(stdout, /^web +3 +1 to 3 /m);
});

test('proxy scale goes before load, until auto gives it back or the service changes', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  assert.equal((await daemon.verb('scale', 'web', '5')).code, 0);
  await eventually(async () => ready(await web(daemon)) === 5);
  assert.deepEqual((await web(daemon)).scaling, { ...(await web(daemon)).scaling, overridden: true, last: null });
  assert.match((await daemon.verb('status')).stdout, /^web +5 +1 to 3 .*proxy scale$/m);
  assert.equal((await daemon.verb('scale', 'web', 'auto')).code, 0);
  const { workers, scaling } = await web(daemon);
  assert.deepEqual([workers.length, scaling?.overridden], [3, false]);
});
