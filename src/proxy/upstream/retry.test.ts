import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayRetry } from './retry.ts';

const base = { sent: false, answered: false, method: 'POST', hasBody: true, attempts: 1, sentAttempts: 0, retries: 2 };

test('nothing written: any method goes to another worker, as often as configured', () => {
  assert.equal(mayRetry(base), true);
  assert.equal(mayRetry({ ...base, attempts: 2 }), true);
  assert.equal(mayRetry({ ...base, attempts: 3 }), false);
  assert.equal(mayRetry({ ...base, retries: 0 }), false);
});

test('written but unanswered: an idempotent method without a body, once', () => {
  const sent = { ...base, sent: true, sentAttempts: 1 };
  assert.equal(mayRetry({ ...sent, method: 'GET', hasBody: false }), true);
  assert.equal(mayRetry({ ...sent, method: 'GET', hasBody: false, attempts: 2, sentAttempts: 2 }), false);
  assert.equal(mayRetry({ ...sent, method: 'PUT', hasBody: true }), false);
  assert.equal(mayRetry({ ...sent, method: 'POST', hasBody: false }), false);
});

test('an answer that began is never repeated', () => {
  assert.equal(
    mayRetry({ ...base, sent: true, sentAttempts: 1, answered: true, method: 'GET', hasBody: false }),
    false,
  );
});
