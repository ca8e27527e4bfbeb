import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextAttemptAt, renewAt, retryDelay } from './renewal.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);

function certificate(lifeMs: number): { notBefore: number; notAfter: number; serial: string } {
  return { notBefore: START, notAfter: START + lifeMs, serial: '01' };
}

function share(name: string, lifeMs: number): number {
  return (renewAt(name, certificate(lifeMs)) - START) / lifeMs;
}

test('renews at two thirds of a life, at half of one shorter than ten days, within two percent', () => {
  for (const name of ['a.example', 'b.example', 'c.example', 'd.example']) {
    assert.ok(Math.abs(share(name, 90 * DAY) - 2 / 3) <= 0.02);
    assert.ok(Math.abs(share(name, 160 * HOUR) - 1 / 2) <= 0.02);
  }
});

test('spreads names, and stays with its choice', () => {
  assert.notEqual(share('a.example', 90 * DAY), share('b.example', 90 * DAY));
  assert.equal(share('a.example', 90 * DAY), share('a.example', 90 * DAY));
});

test('a name without a certificate is due now', () => {
  const none = { name: 'a', certificate: null, failures: 0, lastAttemptAt: null, notBeforeByCa: null };
  assert.equal(nextAttemptAt(none), 0);
});

test('retries after 1, 10 and 100 minutes, then daily, and more often for short lives', () => {
  const minutes = [1, 2, 3, 4, 5].map((failures) => retryDelay(failures, certificate(90 * DAY)) / 60_000);
  assert.deepEqual(minutes, [1, 10, 100, 1440, 1440]);
  assert.equal(retryDelay(4, certificate(160 * HOUR)), 4 * HOUR);
});

test('a failure never hastens a renewal, and the CA has the last word', () => {
  const current = certificate(90 * DAY);
  const due = renewAt('a', current);
  const input = { name: 'a', certificate: current, failures: 1, lastAttemptAt: due, notBeforeByCa: null };
  assert.equal(nextAttemptAt(input), due + 60_000);
  assert.equal(nextAttemptAt({ ...input, notBeforeByCa: due + DAY }), due + DAY);
});
