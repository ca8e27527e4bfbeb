import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bindListeners } from './listeners.ts';
import { createProxyPool } from './proxies.ts';
import type { ProxyPool, ProxyStatus } from './proxies.ts';
import { eventually } from '../../test/support/eventually.ts';
import { silentLogger } from '../log.ts';

/** Takes a while from the order to listen until it does, as a proxy does on a busy machine. */
const SLOW_PROXY = `
process.on('message', ({ type, entrypoint, slot }) => {
  if (type === 'listen') setTimeout(() => process.send({ type: 'listening', entrypoint, slot }), 200);
  if (type === 'drain') process.send({ type: 'drained' });
});
process.on('disconnect', () => process.exit());
`;

function createPool(script: string, guard: { add(pgid: number): void; remove(pgid: number): void }): ProxyPool {
  return createProxyPool({
    count: 1,
    command: [process.execPath, '-e', script],
    env: {},
    identity: null,
    log: silentLogger,
    tracing: null,
    proxyLog: { level: 'info', format: 'json' },
    writeLines: () => {},
    guard,
    outOfMemory: () => false,
    onTargetFailed: () => {},
    lost: { report: () => {}, proxyGone: () => {} },
    findChallenge: () => Promise.resolve(null),
  });
}

test('has started when its proxies listen, not when they were told to', async () => {
  const [listener] = await bindListeners([{ name: 'http', host: '127.0.0.1', port: 0 }], 1);
  assert.ok(listener !== undefined);
  const pool = createPool(SLOW_PROXY, { add: () => {}, remove: () => {} });
  try {
    pool.setListeners([listener]);
    let started = false;
    const starting = pool.start().then(() => (started = true));
    // It is told to listen as soon as it is launched: there are no parts to wait for.
    await new Promise(setImmediate);
    assert.equal(started, false);
    await starting;
  } finally {
    await pool.stop(1_000);
    listener.close();
  }
});

test('a proxy that ends at its start is tried again with pauses, and status says why', async () => {
  let launched = 0;
  const pool = createPool('process.exit(3)', { add: () => launched++, remove: () => {} });
  try {
    void pool.publish('challenges', { http01: {}, tlsAlpn01: {} });
    await pool.start();
    const status = (): ProxyStatus => pool.status()[0] ?? assert.fail('no proxy');
    await eventually(() => status().restarts === 2 && status().state === 'backoff');
    assert.deepEqual(status().restartsByReason, { boot: 2 });
    assert.deepEqual([status().lastExit, status().lastExitReason], ['exit code 3', 'boot']);
    assert.equal(launched, 2);
    assert.ok((status().nextStartAt ?? 0) > Date.now());
  } finally {
    await pool.stop(1_000);
  }
});

test('one that somebody killed is told as such', async () => {
  const pool = createPool('setInterval(() => {}, 1000)', { add: () => {}, remove: () => {} });
  void pool.publish('challenges', { http01: {}, tlsAlpn01: {} });
  const starting = pool.start();
  process.kill(pool.status()[0]?.pid ?? 0, 'SIGKILL');
  await starting;
  assert.deepEqual(pool.status()[0]?.restartsByReason, { killed: 1 });
  await pool.stop(1_000);
});
