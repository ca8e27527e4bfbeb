/** The stand-in that other tests rely on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { page, problem, reset, startShim } from './support/acme_shim.ts';
import { freePort } from './support/daemon.ts';
import { startPebble } from './support/pebble.ts';

test('forwards to Pebble, which builds its addresses from ours, and misbehaves by its script', async () => {
  await using pebble = await startPebble({ httpPort: await freePort() });
  await using shim = await startShim(pebble, { profiles: ['shortlived'], renewalInfo: true });
  const agent = new Agent({ connect: { ca: readFileSync(shim.trustedRoot, 'utf8') } });
  try {
    const get = (url: string) => request(url, { dispatcher: agent });
    const directory = (await (await get(shim.directoryUrl)).body.json()) as Record<string, unknown>;
    const { origin } = new URL(shim.directoryUrl);
    assert.equal(directory['newOrder'], `${origin}/order-plz`);
    assert.equal(directory['renewalInfo'], `${origin}/renewal-info`);
    assert.deepEqual(directory['meta'], {
      termsOfService: (directory['meta'] as Record<string, unknown>)['termsOfService'],
      externalAccountRequired: false,
      profiles: { shortlived: 'https://localhost/shortlived' },
    });

    shim.script('directory', problem('rateLimited', 429, { 'retry-after': '60' }), { times: 1 });
    shim.script('directory', page(200), { times: 1 });
    shim.script('directory', reset, { times: 1 });
    const limited = await get(shim.directoryUrl);
    assert.deepEqual([limited.statusCode, limited.headers['retry-after']], [429, '60']);
    await limited.body.dump();
    assert.match(await (await get(shim.directoryUrl)).body.text(), /log in/);
    await assert.rejects(get(shim.directoryUrl));
    assert.equal((await get(shim.directoryUrl)).statusCode, 200);
    assert.equal(shim.count('directory'), 5);
  } finally {
    await agent.destroy();
  }
});
