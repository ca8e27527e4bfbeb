/** Floods of HTTP/2 frames, in small: each attacker is cut off, nobody else is, and the memory stays. The figures are for `npm run prove floods`. */
import assert from 'node:assert/strict';
import https from 'node:https';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { ATTACKED_SITE, FLOODS, runFlood } from './support/floods.ts';
import { residentBytes } from './support/processes.ts';

const CONNECTIONS = 4;
const MAX_RESIDENT = 300 * 1000 * 1000;

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    entrypoint: 'timeouts: { headers: 1s, idle: 1s, body_idle: 1s, write_idle: 1s }',
    config: `logging: { access: false }\n${ATTACKED_SITE}`,
  });
});
after(() => daemon[Symbol.asyncDispose]());

async function get(): Promise<number | undefined> {
  const request = https.get(`${daemon.origin}/`, { agent: false, rejectUnauthorized: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response.statusCode;
}

for (const flood of FLOODS) {
  test(`${flood.name}: the connections are ended, others are answered`, async () => {
    const over = new AbortController();
    const others = (async () => {
      let count = 0;
      for (; !over.signal.aborted; count++) assert.equal(await get(), 200);
      return count;
    })();
    const flooded = await runFlood(daemon, {
      ...flood,
      connections: CONNECTIONS,
      repeats: Math.min(flood.repeats, 20_000),
    });
    over.abort();
    assert.ok((await others) > 0);
    assert.equal(flooded.open, 0);
    const { proxies } = await daemon.status();
    for (const { pid } of proxies) assert.ok(residentBytes(pid ?? 0) < MAX_RESIDENT);
  });
}

test('no process of the proxy ended meanwhile', () => assert.deepEqual(daemon.events('proxy_exited'), []));
