/** dns-01 with a real CA: by dynamic update at a real name server that the CA asks, and by a command of the operator's. */
import assert from 'node:assert/strict';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createAnswerBoard } from '../src/certificates/solvers/answer_board.ts';
import { createDns01 } from '../src/certificates/solvers/dns01.ts';
import { createDnsLookup } from '../src/certificates/solvers/dns_lookup.ts';
import { createRfc2136 } from '../src/certificates/solvers/rfc2136.ts';
import type { Solver } from '../src/certificates/solvers/solver.ts';
import { createSolvers } from '../src/certificates/solvers/solvers.ts';
import { createMemoryStorage } from '../src/certificates/storage/memory_storage.ts';
import type { AcmeConfig, DnsConfig } from '../src/config/config.ts';
import { silentLogger } from '../src/log.ts';
import { orderBy } from './support/acme_order.ts';
import { startBind } from './support/bind.ts';
import { freePort, temporaryFolder } from './support/daemon.ts';
import { startPebble } from './support/pebble.ts';
import { run } from './support/processes.ts';

function solversFor(
  acme: Pick<AcmeConfig, 'challenges' | 'dns' | 'resolvers'>,
  tls = [true, false],
): readonly Solver[] {
  return createSolvers({
    acme,
    storage: createMemoryStorage(),
    board: createAnswerBoard(() => Promise.resolve()),
    log: silentLogger,
    entrypoints: tls.map((it) => ({ tls: it })),
    env: process.env,
  });
}

test('the configured ways are tried in their order, without those nothing listens for', () => {
  const method: DnsConfig['method'] = { type: 'exec', command: ['true'], timeoutMs: 1_000 };
  const acme = {
    challenges: ['dns-01', 'tls-alpn-01', 'http-01', 'dns-persist-01'],
    dns: { method, propagationTimeoutMs: 0 },
    resolvers: [],
  } as const;
  const types = (solvers: readonly Solver[]): string => solvers.map(({ type }) => type).join(' ');
  assert.equal(types(solversFor(acme)), 'dns-01 tls-alpn-01 http-01 dns-persist-01');
  assert.equal(types(solversFor(acme, [true])), 'dns-01 tls-alpn-01 dns-persist-01');
  assert.equal(types(solversFor(acme, [false])), 'dns-01 http-01 dns-persist-01');
  assert.equal(types(solversFor({ ...acme, dns: null })), 'tls-alpn-01 http-01 dns-persist-01');
  const byDns = solversFor(acme).filter(({ solves }) => solves({ type: 'dns', value: 'a.example' }, true));
  assert.equal(types(byDns), 'dns-01 dns-persist-01');
});

test('a wildcard with its apex, and a name whose record is delegated, by dynamic update', async () => {
  await using bind = await startBind({
    zones: { 'example.test': '_acme-challenge.app.sub IN CNAME app.acme.test.', 'acme.test': '' },
    recursion: true,
  });
  await using pebble = await startPebble({ httpPort: await freePort(), nameServer: bind.address });
  const lookup = createDnsLookup({ resolvers: [bind.address], port: bind.port });
  const method = { host: '127.0.0.1', port: bind.port, zone: null, key: bind.key, ttlSeconds: 60 };
  const editor = createRfc2136({ ...method, lookup });
  const storage = createMemoryStorage();
  const solver = createDns01({ editor, lookup, propagationTimeoutMs: 5_000, storage, log: silentLogger });
  const { certificate } = await orderBy(pebble, solver, ['*.example.test', 'example.test', 'app.sub.example.test']);
  assert.match(String(certificate.subjectAltName), /DNS:\*\.example\.test/);
  assert.equal(certificate.checkHost('app.sub.example.test'), 'app.sub.example.test');
  for (const name of ['_acme-challenge.example.test', 'app.acme.test']) {
    assert.deepEqual(await bind.dig(name, 'TXT'), [], 'nothing is left');
  }
});

test('a wildcard with its apex by a command, which is undone whatever comes of the order', async () => {
  await using pebble = await startPebble({ httpPort: await freePort(), domainBlocklist: [] });
  const folder = temporaryFolder();
  try {
    const program = path.join(folder, 'hook.mjs');
    // Its name server keeps several values of a name, and forgets all of them at once.
    writeFileSync(
      program,
      `#!${process.execPath}
const [action, name, value] = process.argv.slice(2);
const body = JSON.stringify({ host: name + '.', ...(action === 'present' ? { value } : {}) });
const answer = await fetch('${pebble.dns.api}/' + (action === 'present' ? 'set-txt' : 'clear-txt'), { method: 'POST', body });
process.exit(answer.ok ? 0 : 1);
`,
    );
    chmodSync(program, 0o755);
    const dns: DnsConfig = {
      method: { type: 'exec', command: [program], timeoutMs: 10_000 },
      propagationTimeoutMs: 5_000,
    };
    const acme = { challenges: ['dns-01'], dns, resolvers: [pebble.dns.server] } as const;
    const [solver] = solversFor(acme);
    assert.ok(solver !== undefined);
    const seen = async (): Promise<string> => {
      const [host = '', port = ''] = pebble.dns.server.split(':');
      const { stdout } = await run('dig', [`@${host}`, '-p', port, '+short', '_acme-challenge.example.org', 'TXT']);
      return stdout;
    };
    let armed = '';
    const watched: Solver = {
      ...solver,
      arm: async (challenge, signal) => {
        await solver.arm(challenge, signal);
        armed = await seen();
      },
    };
    await orderBy(pebble, watched, ['*.example.org', 'example.org']);
    assert.equal(armed.trim().split('\n').length, 2, armed);
    assert.equal(await seen(), '');

    // A record for the wrong challenge: the CA refuses, and it is taken away all the same.
    const wrong: Solver = {
      ...solver,
      arm: (challenge, signal) => solver.arm({ ...challenge, keyAuthorization: 'wrong' }, signal),
      disarm: (challenge) => solver.disarm({ ...challenge, keyAuthorization: 'wrong' }),
    };
    await assert.rejects(orderBy(pebble, wrong, ['example.org']), /Correct value not found/);
    assert.equal(await seen(), '');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
