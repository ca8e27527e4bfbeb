import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import tls from 'node:tls';
import forge from 'node-forge';
import { createAnswerBoard } from './answer_board.ts';
import { createHttp01 } from './http01.ts';
import { findAnswer, removeExpiredAnswers } from './kept_answers.ts';
import type { Challenge, Identifier } from './solver.ts';
import { challengeCertificate, createTlsAlpn01, serverNameOf } from './tls_alpn01.ts';
import { createMemoryStorage } from '../storage/memory_storage.ts';
import { silentLogger } from '../../log.ts';
import type { ChallengesPart } from '../../snapshot.ts';
import { run } from '../../../test/support/processes.ts';

const SIGNAL = new AbortController().signal;
const NAME: Identifier = { type: 'dns', value: 'a.example' };

function challenge(changes: Partial<Challenge> = {}): Challenge {
  return {
    type: 'http-01',
    identifier: NAME,
    wildcard: false,
    token: 'token',
    keyAuthorization: 'token.thumbprint',
    accountUrl: 'https://ca.example/account/1',
    ...changes,
  };
}

/** Published parts so far, the last one first. */
function fresh() {
  const parts: ChallengesPart[] = [];
  const storage = createMemoryStorage();
  const board = createAnswerBoard(async (part) => void parts.unshift(part));
  return { parts, storage, board, options: { board, storage, log: silentLogger } };
}

test('a token is with every proxy and in the storage when it is armed, and nowhere when it is disarmed', async () => {
  const { parts, storage, options } = fresh();
  const solver = createHttp01(options);
  await solver.arm(challenge(), SIGNAL);
  assert.deepEqual(parts[0], { http01: { token: 'token.thumbprint' }, tlsAlpn01: {} });
  assert.equal(await findAnswer(storage, 'http-01', 'token', Date.now()), 'token.thumbprint');
  await solver.disarm(challenge());
  assert.deepEqual(parts[0], { http01: {}, tlsAlpn01: {} });
  assert.equal(await findAnswer(storage, 'http-01', 'token', Date.now()), null);
  assert.deepEqual(await storage.list('challenges/http-01'), []);
});

test('disarming what never was armed does nothing', async () => {
  const { parts, options } = fresh();
  await createHttp01(options).disarm(challenge());
  await createTlsAlpn01(options).disarm(challenge());
  assert.deepEqual(parts, []);
});

test('nothing is armed once the order is given up', async () => {
  const { parts, options } = fresh();
  await assert.rejects(createHttp01(options).arm(challenge(), AbortSignal.abort()));
  assert.deepEqual(parts, []);
});

test('of two orders for one name, the end of one leaves the answer of the other', async () => {
  const { parts, storage, options } = fresh();
  const solver = createTlsAlpn01(options);
  const [first, second] = ['one', 'two'].map((keyAuthorization) => challenge({ keyAuthorization }));
  assert.ok(first !== undefined && second !== undefined);
  await solver.arm(first, SIGNAL);
  const before = parts[0]?.tlsAlpn01['a.example'];
  await solver.arm(second, SIGNAL);
  assert.notEqual(parts[0]?.tlsAlpn01['a.example'], before);
  await solver.disarm(second);
  assert.equal(parts[0]?.tlsAlpn01['a.example'], before);
  await solver.disarm(first);
  assert.deepEqual(parts[0]?.tlsAlpn01, {});
  assert.deepEqual(await storage.list('challenges/tls-alpn-01'), []);
});

test('an answer nobody took away is not found after ten minutes, and is removed at the next start', async () => {
  const { storage, options } = fresh();
  const solver = createHttp01(options);
  await solver.arm(challenge({ token: 'left' }), SIGNAL);
  await storage.write('challenges/tls-alpn-01/a.example', 'damaged');
  const now = Date.now();
  assert.equal(await findAnswer(storage, 'http-01', 'left', now + 9 * 60_000), 'token.thumbprint');
  assert.equal(await findAnswer(storage, 'http-01', 'left', now + 11 * 60_000), null);
  await removeExpiredAnswers(storage, now);
  assert.deepEqual(await storage.list('challenges/http-01'), ['left']);
  assert.deepEqual(await storage.list('challenges/tls-alpn-01'), []);
  await removeExpiredAnswers(storage, now + 11 * 60_000);
  assert.deepEqual(await storage.list('challenges/http-01'), []);
});

test('a wildcard is for DNS to show, an address is not', () => {
  const { options } = fresh();
  for (const solver of [createHttp01(options), createTlsAlpn01(options)]) {
    assert.equal(solver.solves(NAME, true), false);
    assert.equal(solver.solves(NAME, false), true);
    assert.equal(solver.solves({ type: 'ip', value: '2001:db8::1' }, false), true);
  }
});

test('an address is asked for by its name of reverse DNS', () => {
  assert.equal(serverNameOf({ type: 'ip', value: '192.0.2.1' }), '1.2.0.192.in-addr.arpa');
  assert.equal(
    serverNameOf({ type: 'ip', value: '2001:db8::567:89ab' }),
    // RFC 3596 section 2.5.
    'b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa',
  );
});

test('its certificate is what RFC 8737 asks for, and one that TLS can show', async () => {
  const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
  for (const [name, san] of [
    ['a.example', 'DNS:a.example'],
    [long, `DNS:${long}`],
    ['192.0.2.1', 'IP Address:192.0.2.1'],
    ['2001:db8::1', 'IP Address:2001:DB8:0:0:0:0:0:1'],
  ] as const) {
    const pem = challengeCertificate(name, 'token.thumbprint', Date.now());
    tls.createSecureContext({ cert: pem, key: pem });
    const certificate = new X509Certificate(pem);
    assert.equal(certificate.subjectAltName, san);
    assert.ok(certificate.verify(certificate.publicKey) && certificate.checkIssued(certificate));
    assert.ok(certificate.validFromDate.getTime() < Date.now() && certificate.validToDate.getTime() > Date.now());
    const { stdout } = await run('openssl', ['asn1parse'], { input: pem });
    const digest = createHash('sha256').update('token.thumbprint').digest();
    const inner = forge.asn1.toDer(
      forge.asn1.create(forge.asn1.Class.UNIVERSAL, forge.asn1.Type.OCTETSTRING, false, digest.toString('binary')),
    );
    const hex = inner.toHex().toUpperCase();
    assert.match(
      stdout,
      new RegExp(`1\\.3\\.6\\.1\\.5\\.5\\.7\\.1\\.31\\s[^]*BOOLEAN\\s+:255\\s[^]*\\[HEX DUMP\\]:${hex}`),
    );
  }
});
