import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestHead } from '../http1/request_head.ts';
import { createRequestField, parseHttp2Head } from './request_head.ts';

const PSEUDO = [':method', 'GET', ':scheme', 'https', ':authority', 'app.example', ':path', '/x?y'];

const LIMITS = { maxHeaderSize: 16 * 1024, maxHeaders: 100, maxRequestLine: 8 * 1024 };

function parse(raw: readonly string[], endOfStream = true, limits = LIMITS): { status: number; head: RequestHead } {
  const head = new RequestHead();
  const fields = raw.flatMap((name, i) => (i % 2 === 0 ? [createRequestField(name, raw[i + 1] ?? '')] : []));
  return { status: parseHttp2Head(fields, endOfStream, head, limits), head };
}

function withPseudo(name: string, value: string): string[] {
  return PSEUDO.map((word, i) => (PSEUDO[i - 1] === name && i % 2 === 1 ? value : word));
}

test('becomes the head every protocol has', () => {
  const { status, head } = parse([...PSEUDO, 'accept', '*/*', 'cookie', 'a=1', 'x-b', 'c', 'cookie', 'd=2']);
  assert.equal(status, 0);
  assert.deepEqual(
    [head.method, head.host, head.authority, head.target, head.path, head.bodyKind],
    ['GET', 'app.example', 'app.example', '/x?y', '/x', 'none'],
  );
  assert.equal(head.fields, 'accept: */*\r\nx-b: c\r\ncookie: a=1; d=2\r\n');
});

test('a body is framed by its length, or in chunks when nobody says it', () => {
  assert.equal(parse(PSEUDO, false).head.bodyKind, 'chunked');
  const { head } = parse([...PSEUDO, 'content-length', '007'], false);
  assert.deepEqual([head.bodyKind, head.contentLength], ['length', 7]);
  const empty = [...PSEUDO, 'content-length', '0'];
  assert.equal(parse(empty, false).head.bodyKind, 'chunked', 'the end is not yet seen');
  assert.equal(parse(empty).head.bodyKind, 'length');
});

function repeated(name: string, value: string, times: number): string[] {
  return Array.from({ length: times }, () => [name, value]).flat();
}

const REFUSED: readonly (readonly [rule: string, status: number, raw: readonly string[]])[] = [
  ['another scheme than the connection has (RFC 9113 8.3.1)', 400, withPseudo(':scheme', 'http')],
  ['a path in absolute-form (RFC 9113 8.3.1)', 400, withPseudo(':path', 'https://app.example/')],
  ['a path without a slash (RFC 9113 8.3.1)', 400, withPseudo(':path', 'x')],
  ['an empty path (RFC 9113 8.3.1)', 400, withPseudo(':path', '')],
  ['* for another method than OPTIONS (RFC 9112 3.2.4)', 400, withPseudo(':path', '*')],
  ['a fragment (RFC 9112 3.2)', 400, withPseudo(':path', '/a#b')],
  ['bytes beyond ASCII in a path (RFC 3986 2)', 400, withPseudo(':path', '/\xe9')],
  ['a blank in a path (RFC 9112 3)', 400, withPseudo(':path', '/a b HTTP/1.1')],
  ['userinfo in an authority (RFC 9113 8.3.1)', 400, withPseudo(':authority', 'a@app.example')],
  ['a port that is none (RFC 9110 4.2.2)', 400, withPseudo(':authority', 'app.example:99999')],
  ['an authority with a path', 400, withPseudo(':authority', 'app.example/x')],
  ['a method in lower case (RFC 9110 9.1)', 400, withPseudo(':method', 'get')],
  ['a method nobody knows', 501, withPseudo(':method', 'FROB')],
  ['a method with a blank', 400, withPseudo(':method', 'GET /smuggled')],
  ['CONNECT (RFC 9110 9.3.6)', 405, withPseudo(':method', 'CONNECT')],
  ['TRACE (RFC 9110 9.3.8)', 405, withPseudo(':method', 'TRACE')],
  ['a pseudo-header of an extension (RFC 8441)', 400, [...PSEUDO, ':protocol', 'websocket']],
  ['a missing method (RFC 9113 8.3.1)', 400, PSEUDO.slice(2)],
  ['a missing path (RFC 9113 8.3.1)', 400, PSEUDO.slice(0, 6)],
  ['a missing authority (RFC 9113 8.3.1)', 400, [...PSEUDO.slice(0, 4), ...PSEUDO.slice(6)]],
  ['a Host that is not :authority (RFC 9113 8.3.1)', 400, [...PSEUDO, 'host', 'other.example']],
  ['two Hosts (RFC 9112 3.2)', 400, [...PSEUDO, 'host', 'app.example', 'host', 'app.example']],
  ['CR LF in a value (RFC 9113 8.2.1)', 400, [...PSEUDO, 'x', 'a\r\nContent-Length: 5']],
  ['NUL in a value (RFC 9113 8.2.1)', 400, [...PSEUDO, 'x', 'a\0b']],
  ['a blank around a value (RFC 9113 8.2.1)', 400, [...PSEUDO, 'x', ' a']],
  ['a name in upper case (RFC 9113 8.2.1)', 400, [...PSEUDO, 'X-A', 'a']],
  ['a colon in a name (RFC 9113 8.2.1)', 400, [...PSEUDO, 'x:y', 'a']],
  ['a line end in a name (RFC 9113 8.2.1)', 400, [...PSEUDO, 'x\r\ny', 'a']],
  ['an empty name', 400, [...PSEUDO, '', 'a']],
  ['Transfer-Encoding (RFC 9113 8.2.2)', 400, [...PSEUDO, 'transfer-encoding', 'chunked']],
  ['Connection (RFC 9113 8.2.2)', 400, [...PSEUDO, 'connection', 'close']],
  ['two lengths (RFC 9112 6.3)', 400, [...PSEUDO, 'content-length', '5', 'content-length', '5']],
  ['a length with a sign (RFC 9112 6.3)', 400, [...PSEUDO, 'content-length', '+5']],
  ['another expectation (RFC 9110 10.1.1)', 417, [...PSEUDO, 'expect', '200-ok']],
  ['a head that is too large', 431, [...PSEUDO, 'x', 'a'.repeat(17_000)]],
  ['a head of many cookies that is too large', 431, [...PSEUDO, ...repeated('cookie', 'a=bcde', 2000)]],
  ['too many fields', 431, [...PSEUDO, ...repeated('x', 'y', 101)]],
  ['a path that is too long', 414, withPseudo(':path', `/${'a'.repeat(8192)}`)],
];

for (const [rule, status, raw] of REFUSED) {
  test(`refuses ${rule}`, () => assert.equal(parse(raw, raw.includes('CONNECT')).status, status));
}

test('takes as many fields and as long a path as its limits say, and no more', () => {
  for (const [maxHeaders, maxRequestLine] of [
    [100, 8192],
    [10, 256],
    [500, 12_000],
  ] as const) {
    const limits = { ...LIMITS, maxHeaders, maxRequestLine };
    const longest = withPseudo(':path', `/${'a'.repeat(maxRequestLine - 1)}`);
    assert.equal(parse([...longest, ...repeated('x', 'y', maxHeaders)], true, limits).status, 0);
    assert.equal(parse([...PSEUDO, ...repeated('x', 'y', maxHeaders + 1)], true, limits).status, 431);
    assert.equal(parse(withPseudo(':path', `/${'a'.repeat(maxRequestLine)}`), true, limits).status, 414);
  }
});

test('drops what is not to be passed on', () => {
  const strangers = [
    'x-forwarded-for',
    '1.2.3.4',
    'forwarded',
    'for=a',
    'te',
    'trailers',
    'a_b',
    'c',
    'proxy',
    'x',
    'trailer',
    'x',
  ];
  const { status, head } = parse([...PSEUDO, ...strangers, 'host', 'APP.example']);
  assert.equal(status, 0);
  assert.equal(head.fields, '');
});
