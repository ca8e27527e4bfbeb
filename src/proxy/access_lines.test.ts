import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACCESS_LINES, clientFields, routeFields, withoutSecrets } from './access_lines.ts';
import type { AccessRecord } from './access_lines.ts';

const RECORD: AccessRecord = {
  client: clientFields('192.0.2.7', 'HTTP/2', 'TLSv1.3'),
  route: routeFields('app.example', '/api/', 'web'),
  remote: '192.0.2.7',
  protocol: 'HTTP/2',
  method: 'GET',
  host: 'app.example',
  target: '/api/x?page=2&token=abc',
  status: 200,
  durationMs: 12.34,
  firstByteMs: 11.95,
  queuedMs: 3.5,
  bytesIn: 0,
  bytesOut: 5,
  requestId: '0123456789abcdef0123',
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  worker: 'web/0/g12',
  attempts: 2,
  reused: false,
  retryCause: 'upstream_closed',
  retryWorker: 'web/1/g3',
  userAgent: 'curl/8 "\\\u00e9\u0001',
  referer: 'https://app.example/?code=1',
  failure: null,
  reason: '',
};

test('a line of JSON says all there is to know of a request', () => {
  const { time, ...said } = JSON.parse(ACCESS_LINES.json(RECORD)) as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(said, {
    level: 'info',
    event: 'access',
    remote: '192.0.2.7',
    protocol: 'HTTP/2',
    tls: 'TLSv1.3',
    method: 'GET',
    host: 'app.example',
    target: '/api/x?page=2&token=***',
    status: 200,
    duration_ms: 12.3,
    bytes_in: 0,
    bytes_out: 5,
    request_id: '0123456789abcdef0123',
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    site: 'app.example',
    route: '/api/',
    service: 'web',
    worker: 'web/0/g12',
    generation: 12,
    attempts: 2,
    reused: false,
    first_byte_ms: 12,
    queue_ms: 3.5,
    retry_cause: 'upstream_closed',
    retry_worker: 'web/1/g3',
    user_agent: 'curl/8 "\\\u00e9\u0001',
    referer: 'https://app.example/?code=***',
  });
});

test('what did not happen is left out', () => {
  const { time: _time, ...said } = JSON.parse(
    ACCESS_LINES.json({
      ...RECORD,
      client: clientFields('192.0.2.7', 'HTTP/1.1', null),
      route: '',
      status: 400,
      method: '',
      host: '',
      target: '',
      firstByteMs: -1,
      queuedMs: 0,
      traceparent: '',
      worker: null,
      attempts: 0,
      retryCause: null,
      retryWorker: null,
      userAgent: null,
      referer: null,
      failure: 'bad_request',
      reason: 'Host is invalid',
    }),
  ) as Record<string, unknown>;
  assert.deepEqual(
    Object.keys(said).join(' '),
    'level event remote protocol method host target status duration_ms bytes_in bytes_out request_id failure reason',
  );
});

test('the combined format is the one that tools read', () => {
  assert.match(
    ACCESS_LINES.combined(RECORD),
    /^192\.0\.2\.7 - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/api\/x\?page=2&token=\*\*\* HTTP\/2\.0" 200 5 "https:\/\/app\.example\/\?code=\*\*\*" "curl\/8 \\x22\\x5C\\xE9\\x01"\n$/,
  );
  assert.match(
    ACCESS_LINES.combined({ ...RECORD, method: '', userAgent: null, referer: null }),
    /"-" 200 5 "-" "-"\n$/,
  );
});

test('what lets its holder in is not logged', () => {
  assert.equal(
    withoutSecrets('/reset?token=a&x=1&Access_Token=b&code=&sig=c'),
    '/reset?token=***&x=1&Access_Token=***&code=&sig=***',
  );
  assert.equal(
    withoutSecrets('/a?X-Amz-Signature=abc&csrf-token=1#key=2'),
    '/a?X-Amz-Signature=***&csrf-token=***#key=2',
  );
  assert.equal(
    withoutSecrets('/token=1/monkey?zipcode=1&keyboard=2&q=token'),
    '/token=1/monkey?zipcode=1&keyboard=2&q=token',
  );
});
