import assert from 'node:assert/strict';
import { test } from 'node:test';
import { admit } from './admission.ts';

const TOKEN = '0123456789abcdef';
const asked = { method: 'GET', host: '127.0.0.1:9180', authorization: undefined };
const open = { loopback: true, token: null };
const closed = { loopback: false, token: TOKEN };
const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;

test('a loopback address answers to its own names alone', () => {
  for (const host of [
    'localhost',
    'localhost:9180',
    '127.0.0.1:9180',
    '[::1]:9180',
    '[::1]',
    'LOCALHOST:1',
    'a.localhost',
  ]) {
    assert.deepEqual(admit({ ...asked, host }, open), { ok: true, trusted: true }, host);
  }
  for (const host of [
    'evil.example',
    'evil.example:9180',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '',
    '[::1',
    'x:y',
  ]) {
    const admission = admit({ ...asked, host }, open);
    assert.equal(admission.ok, false, host);
    assert.equal(!admission.ok && admission.status, 403);
  }
});

test('an address others can reach may be asked for by any name', () => {
  assert.equal(admit({ ...asked, host: 'proxy.internal:9180' }, closed).ok, true);
});

test('whoever has the token is trusted, as a bearer or with it as a password', () => {
  for (const authorization of [`Bearer ${TOKEN}`, `bearer ${TOKEN}`, basic(`me:${TOKEN}`), basic(`:${TOKEN}`)]) {
    assert.deepEqual(admit({ ...asked, authorization }, closed), { ok: true, trusted: true }, authorization);
  }
  const wrong = [
    undefined,
    '',
    TOKEN,
    'Bearer',
    'Bearer x',
    `Bearer ${TOKEN}x`,
    `Digest ${TOKEN}`,
    basic(`${TOKEN}:x`),
    'Basic ?',
  ];
  for (const authorization of wrong) {
    assert.deepEqual(admit({ ...asked, authorization }, closed), { ok: true, trusted: false }, String(authorization));
  }
});

test('a token that is configured is asked for on a loopback address too', () => {
  assert.deepEqual(admit(asked, { loopback: true, token: TOKEN }), { ok: true, trusted: false });
});

test('nothing but GET and HEAD', () => {
  assert.equal(admit({ ...asked, method: 'HEAD' }, open).ok, true);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'get']) {
    const admission = admit({ ...asked, method }, open);
    assert.equal(!admission.ok && admission.status, 405, method);
  }
});
