import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorAnswer } from './error_answer.ts';

const INPUT = {
  status: 503,
  failure: 'no_worker',
  reason: 'no worker is ready',
  requestId: 'r1',
  tellsFailure: false,
  pages: [],
} as const;
const page = (body: string): { type: string; body: string } => ({ type: 'text/html', body });

test('an answer of ours is plain, and names the request', () => {
  assert.deepEqual(errorAnswer(INPUT), {
    fields: 'Content-Type: text/plain\r\nRetry-After: 5\r\n',
    body: '503 Service Unavailable\nno worker is ready\nrequest r1\n',
  });
  assert.deepEqual(errorAnswer({ ...INPUT, status: 404, failure: 'not_found', reason: '', tellsFailure: true }), {
    fields: 'Content-Type: text/plain\r\nX-Proxy-Reason: not_found\r\n',
    body: '404 Not Found\nrequest r1\n',
  });
});

test("a site's page goes before everybody's, and a status before its kind", () => {
  const body = (site: Record<string, { type: string; body: string }>, status: number): string =>
    errorAnswer({ ...INPUT, status, pages: [site, { '502': page('all 502'), '5xx': page('all 5xx') }] }).body;
  assert.equal(body({ '5xx': page('site 5xx') }, 502), 'site 5xx');
  assert.equal(body({ '5xx': page('site 5xx'), '502': page('site 502') }, 502), 'site 502');
  assert.equal(body({ '4xx': page('site 4xx') }, 502), 'all 502');
  assert.equal(body({}, 504), 'all 5xx');
  assert.match(body({}, 404), /^404 Not Found/);
});

test('a page may name the request, and nothing else of it', () => {
  const pages = [{ '503': page('<p>{status} {request_id} {request_id} {reason} {</p>') }];
  assert.deepEqual(errorAnswer({ ...INPUT, pages }), {
    fields: 'Content-Type: text/html\r\nRetry-After: 5\r\n',
    body: '<p>503 r1 r1 {reason} {</p>',
  });
});
