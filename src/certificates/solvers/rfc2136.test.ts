import assert from 'node:assert/strict';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ChallengeError } from './challenge_error.ts';
import type { ChallengeErrorCode } from './challenge_error.ts';
import { createDns01, removeLeftRecords } from './dns01.ts';
import { createDnsLookup } from './dns_lookup.ts';
import { createRfc2136 } from './rfc2136.ts';
import type { Rfc2136Options } from './rfc2136.ts';
import type { Challenge } from './solver.ts';
import { createMemoryStorage } from '../storage/memory_storage.ts';
import { silentLogger } from '../../log.ts';
import { startBind } from '../../../test/support/bind.ts';
import type { Bind } from '../../../test/support/bind.ts';
import { freePort } from '../../../test/support/daemon.ts';

const SIGNAL = new AbortController().signal;

function optionsFor(bind: Bind, changes: Partial<Rfc2136Options> = {}): Rfc2136Options {
  const lookup = createDnsLookup({ resolvers: [bind.address], port: bind.port });
  return { host: '127.0.0.1', port: bind.port, zone: null, key: bind.key, ttlSeconds: 60, lookup, ...changes };
}

function record(name: string, value = 'value', zone: string | null = null) {
  return { name, value, zone };
}

function says(code: ChallengeErrorCode, message: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof ChallengeError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, code);
    return true;
  };
}

test('makes one record beside another and removes it alone, in the zone the server says has the name', async () => {
  for (const algorithm of ['hmac-sha256', 'hmac-sha384', 'hmac-sha512'] as const) {
    await using bind = await startBind({ zones: { 'example.test': '', 'sub.example.test': '' }, algorithm });
    const editor = createRfc2136(optionsFor(bind));
    for (const name of ['_acme-challenge.example.test', '_acme-challenge.a.b.sub.example.test']) {
      await editor.add(record(name, 'one'), SIGNAL);
      await editor.add(record(name, 'two'), SIGNAL);
      assert.deepEqual((await bind.dig(name, 'TXT')).toSorted(), ['one', 'two']);
      await editor.remove(record(name, 'one'));
      assert.deepEqual(await bind.dig(name, 'TXT'), ['two']);
      await editor.remove(record(name, 'two'));
      await editor.remove(record(name, 'two'));
      assert.deepEqual(await bind.dig(name, 'TXT'), []);
    }
  }
});

test('names may be written with a final dot and in any case, as name servers do', async () => {
  await using bind = await startBind({ zones: { 'example.test': '' } });
  const key = { ...bind.key, name: 'Test-Key.' };
  const editor = createRfc2136(optionsFor(bind, { key, zone: 'Example.test.', host: 'localhost' }));
  await editor.add(record('a.example.test'), SIGNAL);
  assert.deepEqual(await bind.dig('a.example.test', 'TXT'), ['value']);
});

test('a server that asks for no key is sent none', async () => {
  await using bind = await startBind({ zones: { 'example.test': '' }, open: true });
  await createRfc2136(optionsFor(bind, { key: null })).add(record('a.example.test'), SIGNAL);
  assert.deepEqual(await bind.dig('a.example.test', 'TXT'), ['value']);
});

test('each way to be refused is told with what to look at', async () => {
  await using bind = await startBind({ zones: { 'example.test': '', 'closed.test': '' }, closed: ['closed.test'] });
  const add = (name: string, changes: Partial<Rfc2136Options> = {}): Promise<void> =>
    createRfc2136(optionsFor(bind, changes)).add(record(name), SIGNAL);
  const wrongSecret = { ...bind.key, secret: Buffer.from('another').toString('base64') };
  await assert.rejects(add('a.example.test', { key: wrongSecret }), says('UPDATE_REFUSED', /BADSIG.*key_secret/));
  const wrongName = { ...bind.key, name: 'nobodys' };
  await assert.rejects(
    add('a.example.test', { key: wrongName }),
    says('UPDATE_REFUSED', /"?nobodys"? \(BADKEY\).*key_name/),
  );
  await assert.rejects(add('a.example.test', { key: null }), says('UPDATE_REFUSED', /REFUSED.*may want a TSIG key/));
  await assert.rejects(add('a.closed.test'), says('UPDATE_REFUSED', /test-key.*closed\.test.*REFUSED/));
  await assert.rejects(
    add('a.example.test', { zone: 'other.test' }),
    says('UPDATE_REFUSED', /other\.test \(NOTAUTH\).*zone/),
  );
  await assert.rejects(
    add('a.other.test', { zone: 'example.test' }),
    says('UPDATE_REFUSED', /NOTZONE.*acme\.dns\.rfc2136\.zone/),
  );
  await assert.rejects(add('a.other.test'), says('NO_ZONE', /no zone has a\.other\.test.*acme\.dns\.rfc2136\.zone/));
  assert.deepEqual(await bind.dig('a.example.test', 'TXT'), []);
});

test('a server that is down, hangs up, or answers nonsense is told apart from one that refuses', async () => {
  await using bind = await startBind({ zones: { 'example.test': '' } });
  const add = (port: number, signal: AbortSignal): Promise<void> =>
    createRfc2136(optionsFor(bind, { port, zone: 'example.test' })).add(record('a.example.test'), signal);
  await assert.rejects(add(await freePort(), SIGNAL), says('UPDATE_UNREACHABLE', /cannot be reached: .*ECONNREFUSED/));
  for (const [answer, message] of [
    [Buffer.alloc(0), /without an answer/],
    [Buffer.from([0, 4, 1, 2, 3, 4]), /answered, but it is no answer/],
  ] as const) {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await assert.rejects(add((server.address() as AddressInfo).port, SIGNAL), says('UPDATE_UNREACHABLE', message));
    server.close();
  }
  // Accepts and says nothing: the order's end ends the waiting.
  const silent = net.createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  await assert.rejects(
    add((silent.address() as AddressInfo).port, AbortSignal.timeout(50)),
    says('UPDATE_UNREACHABLE', /./),
  );
  silent.close();
});

test('an answer that the key did not sign is not believed', async () => {
  await using bind = await startBind({ zones: { 'example.test': '' } });
  // Between the two: it lets the update through and changes a bit of the answer's signature.
  const liar = net.createServer((socket) => {
    const upstream = net.connect(bind.port, '127.0.0.1');
    socket.on('error', () => {}).pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      chunk[chunk.length - 8] = (chunk[chunk.length - 8] ?? 0) ^ 1;
      socket.end(chunk);
      upstream.destroy();
    });
  });
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
  const { port } = liar.address() as AddressInfo;
  const editor = createRfc2136(optionsFor(bind, { port, zone: 'example.test' }));
  await assert.rejects(
    editor.add(record('a.example.test'), SIGNAL),
    says('UPDATE_REFUSED', /not signed by the TSIG key/),
  );
  liar.close();
});

function challenge(name: string, keyAuthorization: string, wildcard = false): Challenge {
  const identifier = { type: 'dns', value: name } as const;
  return { type: 'dns-01', identifier, wildcard, token: 't', keyAuthorization, accountUrl: 'https://ca.example/1' };
}

test('dns-01 makes its record at the end of a CNAME, waits until the name server shows it, and removes it', async () => {
  await using bind = await startBind({
    zones: {
      'example.test': '_acme-challenge.app IN CNAME app.acme.test.\n_acme-challenge.loop IN CNAME _acme-challenge.loop',
      'acme.test': 'app IN CNAME real',
    },
    closed: ['example.test'],
  });
  const { lookup, ...options } = optionsFor(bind);
  const storage = createMemoryStorage();
  const editor = createRfc2136({ lookup, ...options });
  const solver = createDns01({ editor, lookup, propagationTimeoutMs: 5_000, storage, log: silentLogger });
  // A wildcard and its apex: two values of one name.
  const both = [challenge('app.example.test', 'one'), challenge('app.example.test', 'two', true)];
  await Promise.all(both.map((one) => solver.arm(one, SIGNAL)));
  assert.equal((await bind.dig('real.acme.test', 'TXT')).length, 2);
  assert.equal((await storage.list('challenges/dns-01')).length, 2);
  await Promise.all(both.map((one) => solver.disarm(one)));
  await Promise.all(both.map((one) => solver.disarm(one)));
  assert.deepEqual(await bind.dig('real.acme.test', 'TXT'), []);
  assert.deepEqual(await storage.list('challenges/dns-01'), []);

  await assert.rejects(solver.arm(challenge('loop.example.test', 'x'), SIGNAL), says('CNAME_LOOP', /8 CNAME/));
});

test('a record that a dead instance left is removed at the next start', async () => {
  await using bind = await startBind({ zones: { 'example.test': '' } });
  const { lookup, ...options } = optionsFor(bind);
  const storage = createMemoryStorage();
  const editor = createRfc2136({ lookup, ...options });
  const dead = createDns01({ editor, lookup, propagationTimeoutMs: 5_000, storage, log: silentLogger });
  await dead.arm(challenge('a.example.test', 'left'), SIGNAL);
  await removeLeftRecords(editor, storage, silentLogger, Date.now());
  assert.equal((await bind.dig('_acme-challenge.a.example.test', 'TXT')).length, 1, 'another instance may need it');
  await removeLeftRecords(editor, storage, silentLogger, Date.now() + 31 * 60_000);
  assert.deepEqual(await bind.dig('_acme-challenge.a.example.test', 'TXT'), []);
  assert.deepEqual(await storage.list('challenges/dns-01'), []);
});
