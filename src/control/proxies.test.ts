import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bindListeners } from './listeners.ts';
import { createProxyPool } from './proxies.ts';
import { silentLogger } from '../log.ts';

/** Takes a while from the order to listen until it does, as a proxy does on a busy machine. */
const SLOW_PROXY = `
process.on('message', ({ type, entrypoint, slot }) => {
  if (type === 'listen') setTimeout(() => process.send({ type: 'listening', entrypoint, slot }), 200);
  if (type === 'drain') process.send({ type: 'drained' });
});
process.on('disconnect', () => process.exit());
`;

test('has started when its proxies listen, not when they were told to', async () => {
  const [listener] = await bindListeners([{ name: 'http', host: '127.0.0.1', port: 0 }], 1);
  assert.ok(listener !== undefined);
  const pool = createProxyPool({
    count: 1,
    command: [process.execPath, '-e', SLOW_PROXY],
    env: {},
    identity: null,
    log: silentLogger,
    proxyLog: { level: 'info', format: 'json' },
    writeLines: () => {},
    guard: { add: () => {}, remove: () => {} },
    onTargetFailed: () => {},
    findChallenge: () => Promise.resolve(null),
  });
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
