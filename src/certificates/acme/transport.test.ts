import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alternatesIn } from './chain.ts';
import { parseDirectory } from './directory.ts';
import { pauseMs } from './poll.ts';
import { asProblem, parseRetryAfter, retryAtIn } from './transport.ts';

const NOW = Date.parse('2026-11-24T12:00:00Z');

test('Retry-After is seconds or a date, and nothing else', () => {
  assert.equal(parseRetryAfter('3600', NOW), NOW + 3_600_000);
  assert.equal(parseRetryAfter('Tue, 24 Nov 2026 13:00:00 GMT', NOW), NOW + 3_600_000);
  assert.equal(parseRetryAfter('Tue, 24 Nov 2026 11:00:00 GMT', NOW), NOW);
  // 40 days: more than a timer holds, and kept as it is.
  assert.equal(parseRetryAfter('3456000', NOW), NOW + 3_456_000_000);
  assert.equal(parseRetryAfter('later', NOW), null);
  assert.equal(parseRetryAfter(undefined, NOW), null);
});

test("the time in the words of Let's Encrypt is a duration when it is of 1970", () => {
  assert.equal(retryAtIn('too many, retry after 1970-01-01 00:18:15 UTC: see', NOW), NOW + 1_095_000);
  assert.equal(retryAtIn('too many, retry after 2026-11-25 12:00:00 UTC: see', NOW), NOW + 86_400_000);
  assert.equal(retryAtIn('too many', NOW), null);
});

test('a problem keeps its type, its subproblems by name and where to read more', () => {
  const problem = asProblem({
    url: 'https://ca.example/order',
    status: 403,
    headers: {},
    retryAt: null,
    skewMs: null,
    data: {
      type: 'urn:ietf:params:acme:error:unauthorized',
      detail: 'some names failed',
      instance: 'https://ca.example/unpause',
      subproblems: [
        {
          type: 'urn:ietf:params:acme:error:caa',
          detail: 'CAA forbids b.example',
          identifier: { type: 'dns', value: 'b.example' },
        },
        'nonsense',
      ],
    },
  });
  assert.equal(problem.type, 'unauthorized');
  assert.equal(problem.message, 'some names failed; CAA forbids b.example');
  assert.deepEqual(problem.subproblems, [
    { type: 'caa', detail: 'CAA forbids b.example', identifier: 'b.example' },
    { type: '', detail: '', identifier: null },
  ]);
  assert.equal(problem.instance, 'https://ca.example/unpause');
});

test('an answer without words is still told by its status', () => {
  const answer = { url: '', status: 503, headers: {}, retryAt: null, skewMs: null, data: '' };
  assert.equal(asProblem(answer).message, 'the CA answered 503');
});

test('a poll waits as long as the CA wishes, between a second and a minute, else longer each time', () => {
  assert.deepEqual(
    [NOW - 5, NOW + 100, NOW + 3_000, NOW + 86_400_000].map((at) => pauseMs(at, 0, NOW)),
    [1_000, 1_000, 3_000, 60_000],
  );
  assert.deepEqual(
    [0, 1, 2, 3, 9].map((attempt) => pauseMs(null, attempt, NOW)),
    [250, 1_000, 2_000, 5_000, 5_000],
  );
});

test('only alternates are alternates', () => {
  const link = '<https://ca/dir>;rel="index", <https://ca/1>;rel="alternate", </2>; title="a, b"; rel=alternate';
  assert.deepEqual(alternatesIn(link), ['https://ca/1', '/2']);
  assert.deepEqual(alternatesIn(''), []);
});

test('a directory without newNonce is none, and unknown fields do no harm', () => {
  const good = { newNonce: 'a', newAccount: 'b', newOrder: 'c', keyWitness: { x: 1 }, meta: { profiles: 'none' } };
  assert.equal(parseDirectory('https://ca', good).profiles, null);
  const { newNonce: _, ...bad } = good;
  assert.throws(() => parseDirectory('https://ca', bad), /no newNonce/);
});
