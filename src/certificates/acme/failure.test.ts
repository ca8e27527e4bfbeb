import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AcmeProblem, AcmeTransportError, BudgetError, OrderError, ValidationError } from './errors.ts';
import { classify } from './failure.ts';
import { StorageError } from '../storage/storage.ts';

const AT = Date.parse('2026-11-25T00:00:00Z');

function problem(type: string, status: number, detail = '', retryAt: number | null = null): AcmeProblem {
  return new AcmeProblem({ type, status, detail, subproblems: [], retryAt, url: '', instance: null });
}

test('each failure has its class, its exit code, and says whether a person must act', () => {
  const cases: readonly (readonly [unknown, string, number, boolean])[] = [
    [new AcmeTransportError('ECONNREFUSED', ''), 'transport', 4, false],
    [problem('serverInternal', 500), 'server', 4, false],
    [problem('', 503), 'server', 4, false],
    [problem('badNonce', 400), 'server', 4, false],
    [problem('rateLimited', 429), 'rate_limited', 6, false],
    [problem('rateLimited', 403), 'rate_limited', 6, false],
    [problem('unauthorized', 403), 'validation', 5, false],
    [problem('unauthorized', 403, 'Account is not valid, has status "deactivated"'), 'account', 1, true],
    [problem('accountDoesNotExist', 400), 'account', 1, false],
    [problem('rejectedIdentifier', 400), 'permanent', 5, true],
    [problem('caa', 403), 'permanent', 5, true],
    [problem('invalidProfile', 400), 'permanent', 1, true],
    [problem('externalAccountRequired', 400), 'permanent', 1, true],
    [problem('alreadyReplaced', 409), 'order', 1, false],
    [new BudgetError(AT, ''), 'budget', 6, false],
    [new StorageError(''), 'local', 7, false],
    [validation('connection'), 'validation', 5, false],
    [validation('connection', 'caa'), 'permanent', 5, true],
    [new OrderError('unfinished', '', {}), 'order', 4, false],
    [new OrderError('invalid', '', { type: 'caa' }), 'permanent', 5, true],
    [new OrderError('rejected', '', {}), 'order', 1, true],
    [new Error(''), 'internal', 1, false],
  ];
  for (const [error, expected, code, needsOperator] of cases) {
    const failure = classify(error);
    assert.deepEqual(
      [failure.class, failure.code, failure.needsOperator],
      [expected, code, needsOperator],
      String(error),
    );
  }
});

test('when to come back is kept, with whom it concerns', () => {
  const set = 'too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s';
  const account = 'too many new orders (300) from this account in the last 3h0m0s';
  assert.deepEqual(pick(problem('rateLimited', 429, set, AT)), [AT, 'names']);
  assert.deepEqual(pick(problem('rateLimited', 429, account, AT)), [AT, 'issuer']);
  assert.deepEqual(pick(problem('', 503, '', AT)), [AT, 'issuer']);
  assert.deepEqual(pick(new BudgetError(AT, '')), [AT, 'names']);
  assert.deepEqual(pick(new AcmeTransportError('ETIMEDOUT', '')), [null, 'issuer']);
});

function pick(error: unknown): unknown {
  const { retryAt, scope } = classify(error);
  return [retryAt, scope];
}

function validation(...types: readonly string[]): ValidationError {
  return new ValidationError(
    types.map((type, i) => ({ name: `${i}.example`, challenge: 'http-01', type, detail: '', url: null })),
  );
}
