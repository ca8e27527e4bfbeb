import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayRetry } from './retry.ts';
import type { RetryInput } from './retry.ts';

const base: RetryInput = {
  failure: 'connect_failed',
  sent: false,
  answered: false,
  method: 'POST',
  replayable: true,
  attempts: 1,
  sentAttempts: 0,
  retries: 2,
  waitedMs: 0,
  livenessMs: 30_000,
};

test('nothing written: any method goes to another worker, as often as configured', () => {
  assert.equal(mayRetry(base), true);
  assert.equal(mayRetry({ ...base, failure: 'connect_timeout' }), true);
  assert.equal(mayRetry({ ...base, attempts: 2 }), true);
  assert.equal(mayRetry({ ...base, attempts: 3 }), false);
  assert.equal(mayRetry({ ...base, retries: 0 }), false);
  assert.equal(mayRetry({ ...base, replayable: false }), false, 'a part of the body is gone');
});

const sent: RetryInput = { ...base, failure: 'upstream_closed', sent: true, sentAttempts: 1, replayable: true };

test('written but unanswered: an idempotent method whose body is still held, once', () => {
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']) {
    assert.equal(mayRetry({ ...sent, method }), true);
    assert.equal(mayRetry({ ...sent, method, attempts: 2, sentAttempts: 2 }), false);
    assert.equal(mayRetry({ ...sent, method, replayable: false }), false);
  }
  assert.equal(mayRetry({ ...sent, method: 'POST' }), false);
  assert.equal(mayRetry({ ...sent, method: 'PATCH' }), false);
});

test('after a timeout, an invalid answer or a partial one: never', () => {
  assert.equal(mayRetry({ ...sent, method: 'GET', failure: 'upstream_timeout' }), false);
  assert.equal(mayRetry({ ...sent, method: 'GET', failure: 'upstream_invalid' }), false);
  assert.equal(mayRetry({ ...sent, method: 'GET', answered: true }), false);
});

test('what a worker hung at is not given to another, what came after it is', () => {
  assert.equal(mayRetry({ ...sent, method: 'GET', waitedMs: 30_000 }), false);
  assert.equal(mayRetry({ ...sent, method: 'GET', waitedMs: 29_000 }), true);
});
