import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseResponseHead, ResponseHead } from './response_head.ts';

function parse(source: string, method = 'GET'): { problem: 0 | string; head: ResponseHead; forwarded: string } {
  const head = new ResponseHead();
  const problem = parseResponseHead(source, head, method);
  return { problem, head, forwarded: head.fields };
}

const REFUSED: readonly (readonly [rule: string, source: string])[] = [
  ['what is not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
  ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ['a status below 100', 'HTTP/1.1 099 OK\r\n\r\n'],
  ['a status of 600', 'HTTP/1.1 600 OK\r\n\r\n'],
  ['an unasked 101', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n'],
  ['a bad length', 'HTTP/1.1 200 OK\r\nContent-Length: 1a\r\n\r\n'],
  ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
  ['a tab after the coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n'],
  ['a coding on HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['a bare LF', 'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n'],
  ['a folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
  ['a space before the colon', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n'],
  ['a control in the reason', 'HTTP/1.1 200 O\0K\r\n\r\n'],
];

for (const [rule, source] of REFUSED) {
  test(`refuses ${rule}`, () => assert.notEqual(parse(source).problem, 0));
}

test('frames a body as RFC 9112 section 6.3 says', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'GET', 'length'],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n', 'GET', 'chunked'],
    ['HTTP/1.1 200 OK\r\n\r\n', 'GET', 'close'],
    ['HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n', 'HEAD', 'none'],
    ['HTTP/1.1 204 No Content\r\n\r\n', 'GET', 'none'],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', 'GET', 'none'],
    ['HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', 'GET', 'none'],
  ];
  for (const [source, method, kind] of cases) {
    const { problem, head } = parse(source, method);
    assert.equal(problem, 0, source);
    assert.equal(head.bodyKind, kind, source);
  }
});

test('keeps the length of a body that is not sent, and drops one of 204', () => {
  assert.match(parse('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD').forwarded, /Content-Length: 5/);
  assert.equal(parse('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n').forwarded, '');
});

test('removes hop-by-hop fields and those Connection nominates', () => {
  const source =
    'HTTP/1.1 200 OK\r\nX-Secret: 1\r\nConnection: X-Secret\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 1\r\n\r\n';
  assert.equal(parse(source).forwarded, 'Set-Cookie: a\r\nSet-Cookie: b\r\n');
});
