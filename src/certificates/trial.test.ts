import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedTrial, withoutTokens } from './trial.ts';

const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA';

test('tokens and key authorizations do not leave the daemon', () => {
  const url = `http://app.example.com/.well-known/acme-challenge/${TOKEN}`;
  assert.equal(
    withoutTokens(`Invalid response from ${url}: "${TOKEN}.${'a'.repeat(43)}"`),
    'Invalid response from http://app.example.com/.well-known/acme-challenge/…: "…"',
  );
});

test('what a CA says about each name is kept, with what it fetched', () => {
  const failures = [
    {
      name: 'app.example.com',
      challenge: 'http-01',
      type: 'urn:ietf:params:acme:error:connection',
      detail: `Fetching http://app.example.com/.well-known/acme-challenge/${TOKEN}: Timeout`,
      url: `http://app.example.com/.well-known/acme-challenge/${TOKEN}`,
    },
  ];
  const { problem } = failedTrial(Object.assign(new Error('app.example.com: Timeout'), { failures }));
  assert.deepEqual(problem, {
    type: 'connection',
    status: null,
    subproblems: [
      {
        identifier: 'app.example.com',
        type: 'connection',
        detail: 'Fetching http://app.example.com/.well-known/acme-challenge/…: Timeout',
      },
    ],
    url: 'http://app.example.com/.well-known/acme-challenge/…',
    retryAt: null,
  });
  const refused = Object.assign(new Error('too many certificates'), {
    type: 'rateLimited',
    status: 429,
    retryAt: 1_800_000_000_000,
    subproblems: [{ identifier: { type: 'dns', value: 'b.example.com' }, type: 'caa', detail: 'forbidden' }],
  });
  assert.deepEqual(failedTrial(refused).problem, {
    type: 'rateLimited',
    status: 429,
    subproblems: [{ identifier: 'b.example.com', type: 'caa', detail: 'forbidden' }],
    url: null,
    retryAt: 1_800_000_000_000,
  });
  assert.equal(failedTrial(new Error('a defect')).problem, null);
});
