import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Challenges } from './challenges.ts';
import { createChallenges } from './challenges.ts';
import { RequestHead } from './http1/request_head.ts';
import { challengeAnswer } from './policies/acme_challenge.ts';
import { challengeCertificate } from '../certificates/solvers/tls_alpn01.ts';

const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyP2KiDhCSSs';

/** `asked`: what went to the control plane; `at.ms`: the time, which the test sets. */
function fresh(): { challenges: Challenges; asked: { key: string; id: number }[]; at: { ms: number } } {
  const asked: { key: string; id: number }[] = [];
  const at = { ms: 0 };
  const challenges = createChallenges({ ask: ({ key, id }) => void asked.push({ key, id }), now: () => at.ms });
  return { challenges, asked, at };
}

function head(token: string, method = 'GET'): RequestHead {
  return Object.assign(new RequestHead(), { method, path: `/.well-known/acme-challenge/${token}` });
}

test('an armed token is answered, and nothing that only looks like one', () => {
  const { challenges, asked } = fresh();
  challenges.apply({ http01: { [TOKEN]: 'answer' }, tlsAlpn01: {} });
  const answer = { status: 200, fields: 'Content-Type: text/plain\r\n', body: 'answer' };
  assert.deepEqual(challengeAnswer(head(TOKEN), challenges), answer);
  assert.deepEqual(challengeAnswer(head(TOKEN, 'HEAD'), challenges), answer);
  for (const wrong of ['../secret', 'a b', '', 'a'.repeat(129), `${TOKEN}/`, `${TOKEN}.x`]) {
    assert.equal(challengeAnswer(head(wrong), challenges), null, wrong);
  }
  assert.equal(challengeAnswer(head(TOKEN, 'POST'), challenges), null);
  assert.equal(asked.length, 0);
});

test('a token nobody told of is asked for once, whoever wants it at the same time', async () => {
  const { challenges, asked } = fresh();
  const both = [challenges.http01(TOKEN), challenges.http01(TOKEN)];
  assert.deepEqual(
    asked.map(({ key }) => key),
    [TOKEN],
  );
  challenges.found(asked[0]?.id ?? 0, 'answer');
  assert.deepEqual(await Promise.all(both), ['answer', 'answer']);
});

test('that nobody knows a token holds for a second', async () => {
  const { challenges, asked, at } = fresh();
  // A name every object has.
  const first = challenges.http01('constructor');
  challenges.found(asked[0]?.id ?? 0, null);
  assert.equal(await first, null);
  at.ms = 999;
  assert.equal(challenges.http01('constructor'), null);
  assert.equal(asked.length, 1);
  at.ms = 1_000;
  void challenges.http01('constructor');
  assert.equal(asked.length, 2);
});

test('a name that was asked for too early is asked for again', async () => {
  const { challenges, asked } = fresh();
  const early = challenges.tlsAlpn01('a.example');
  challenges.found(asked[0]?.id ?? 0, null);
  assert.equal(await early, null);
  const again = challenges.tlsAlpn01('a.example');
  challenges.found(asked[1]?.id ?? 0, challengeCertificate('a.example', 'key authorization', Date.now()));
  assert.ok((await again) !== null);
});

test('strangers cost 20 questions a second, and 16 at a time', () => {
  const { challenges, asked, at } = fresh();
  for (let i = 0; i < 100; i++) void challenges.http01(`stranger-${i}`);
  assert.equal(asked.length, 16);
  for (const { id } of asked) challenges.found(id, null);
  for (let i = 100; i < 200; i++) void challenges.http01(`stranger-${i}`);
  assert.equal(asked.length, 20);
  for (const { id } of asked) challenges.found(id, null);
  at.ms = 1_000;
  for (let i = 200; i < 300; i++) void challenges.http01(`stranger-${i}`);
  assert.equal(asked.length, 36);
});

test('a storage that does not answer holds nobody longer than two seconds', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { challenges, asked } = fresh();
  const answer = challenges.http01(TOKEN);
  t.mock.timers.tick(2_000);
  assert.equal(await answer, null);
  // Too late to matter.
  challenges.found(asked[0]?.id ?? 0, 'answer');
});

test('a certificate is shown by its name, whether it was published or had to be asked for', async () => {
  const { challenges, asked } = fresh();
  const pem = challengeCertificate('a.example', 'key authorization', Date.now());
  challenges.apply({ http01: {}, tlsAlpn01: { 'a.example': pem } });
  const published = challenges.tlsAlpn01('a.example');
  assert.ok(published !== null && !(published instanceof Promise));
  challenges.apply({ http01: { other: 'x' }, tlsAlpn01: { 'a.example': pem } });
  assert.equal(challenges.tlsAlpn01('a.example'), published, 'what did not change is not made anew');

  for (const wrong of ['', '.hidden', 'a/../b', 'A.example', 'a'.repeat(241)]) {
    assert.equal(challenges.tlsAlpn01(wrong), null, wrong);
  }
  assert.equal(asked.length, 0);
  const other = challenges.tlsAlpn01('b.example');
  challenges.found(asked[0]?.id ?? 0, challengeCertificate('b.example', 'key authorization', Date.now()));
  assert.ok((await other) !== null);
});
