import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequestHead, RequestHead } from './request_head.ts';

const HOST = 'Host: a.example\r\n';

const LIMITS = { maxHeaders: 100, maxRequestLine: 8 * 1024 };

function parse(source: string, limits = LIMITS): { status: number; head: RequestHead; forwarded: string } {
  const head = new RequestHead();
  const status = parseRequestHead(source, head, limits);
  return { status, head, forwarded: head.fields };
}

function accept(source: string): { head: RequestHead; forwarded: string } {
  const { status, head, forwarded } = parse(source);
  assert.equal(status, 0, `${JSON.stringify(source)}: ${head.problem}`);
  return { head, forwarded };
}

const REFUSED: readonly (readonly [rule: string, status: number, source: string])[] = [
  [
    'Content-Length and Transfer-Encoding',
    400,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
  ],
  [
    'Transfer-Encoding and Content-Length',
    400,
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n`,
  ],
  ['two equal Content-Lengths', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nContent-Length: 3\r\n\r\n`],
  ['a Content-Length list', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3, 3\r\n\r\n`],
  ['a signed Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: +3\r\n\r\n`],
  ['a negative Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: -3\r\n\r\n`],
  ['a hexadecimal Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x3\r\n\r\n`],
  ['an underscored Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 1_0\r\n\r\n`],
  ['an empty Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length:\r\n\r\n`],
  ['a fractional Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 3.0\r\n\r\n`],
  ['an overflowing Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 99999999999999999999\r\n\r\n`],
  ['a Content-Length beyond 2^53', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length: 9007199254740993\r\n\r\n`],
  ['two transfer codings', 400, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n`],
  ['a leading comma in Transfer-Encoding', 400, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: ,chunked\r\n\r\n`],
  ['chunked twice', 400, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`],
  ['a quoted chunked', 400, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: "chunked"\r\n\r\n`],
  ['chunked with a parameter', 400, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked;x\r\n\r\n`],
  ['the identity coding', 501, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: identity\r\n\r\n`],
  ['an empty Transfer-Encoding', 501, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding:\r\n\r\n`],
  ['Transfer-Encoding on HTTP/1.0', 400, `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`],
  ['a tab after chunked', 400, `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\t\r\n\r\n`],
  ['a tab before a Content-Length', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length:\t3\r\n\r\n`],
  ['a bare LF in the head', 400, `GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n`],
  ['a bare CR in a value', 400, `GET / HTTP/1.1\r\n${HOST}X: a\rb\r\n\r\n`],
  ['a NUL in a value', 400, `GET / HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`],
  ['a control in a value', 400, `GET / HTTP/1.1\r\n${HOST}X: a\x01b\r\n\r\n`],
  ['DEL in a value', 400, `GET / HTTP/1.1\r\n${HOST}X: a\x7fb\r\n\r\n`],
  ['a folded line', 400, `GET / HTTP/1.1\r\n${HOST}X: a\r\n b\r\n\r\n`],
  ['a space before the colon', 400, `GET / HTTP/1.1\r\n${HOST}X : a\r\n\r\n`],
  ['a tab before the colon', 400, `POST / HTTP/1.1\r\n${HOST}Content-Length\t: 5\r\n\r\n`],
  ['a space in a name', 400, `GET / HTTP/1.1\r\n${HOST}X Y: a\r\n\r\n`],
  ['a line without a colon', 400, `GET / HTTP/1.1\r\n${HOST}X\r\n\r\n`],
  ['an empty name', 400, `GET / HTTP/1.1\r\n${HOST}: a\r\n\r\n`],
  ['a space before the first field', 400, `GET / HTTP/1.1\r\n Host: a\r\n\r\n`],
  ['a name beyond ASCII', 400, `GET / HTTP/1.1\r\n${HOST}X\xe4: a\r\n\r\n`],
  ['no Host', 400, 'GET / HTTP/1.1\r\nAccept: */*\r\n\r\n'],
  ['two Hosts', 400, 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n'],
  ['an empty Host', 400, 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
  ['a Host list', 400, 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n'],
  ['a Host with userinfo', 400, 'GET / HTTP/1.1\r\nHost: u@a\r\n\r\n'],
  ['a Host with a path', 400, 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
  ['a Host with a fragment', 400, 'GET / HTTP/1.1\r\nHost: a#b\r\n\r\n'],
  ['a Host with a bad port', 400, 'GET / HTTP/1.1\r\nHost: a:x\r\n\r\n'],
  ['a Host with a port out of range', 400, 'GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n'],
  ['a Host with an escape', 400, 'GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n'],
  ['a Host with a broken address', 400, 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n'],
  ['a Host with a bad address', 400, 'GET / HTTP/1.1\r\nHost: [zz::1]\r\n\r\n'],
  ['userinfo in the target', 400, `GET http://u@a/ HTTP/1.1\r\n${HOST}\r\n`],
  ['another scheme', 400, `GET ftp://a/ HTTP/1.1\r\n${HOST}\r\n`],
  ['an absolute target with an invalid Host', 400, 'GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n'],
  ['* for GET', 400, `GET * HTTP/1.1\r\n${HOST}\r\n`],
  ['a target without a slash', 400, `GET x HTTP/1.1\r\n${HOST}\r\n`],
  ['a fragment', 400, `GET /a#b HTTP/1.1\r\n${HOST}\r\n`],
  ['a backslash', 400, `GET /a\\b HTTP/1.1\r\n${HOST}\r\n`],
  ['a raw byte beyond ASCII', 400, `GET /\xe4 HTTP/1.1\r\n${HOST}\r\n`],
  ['a bad escape', 400, `GET /%zz HTTP/1.1\r\n${HOST}\r\n`],
  ['a cut escape', 400, `GET /%2 HTTP/1.1\r\n${HOST}\r\n`],
  ['an escaped NUL', 400, `GET /a%00b HTTP/1.1\r\n${HOST}\r\n`],
  ['HTTP/0.9', 400, 'GET /\r\n\r\n'],
  ['HTTP/2.0 as text', 505, `GET / HTTP/2.0\r\n${HOST}\r\n`],
  ['HTTP/1.2', 505, `GET / HTTP/1.2\r\n${HOST}\r\n`],
  ['HTTP/1.10', 400, `GET / HTTP/1.10\r\n${HOST}\r\n`],
  ['a lower-case version', 400, `GET / http/1.1\r\n${HOST}\r\n`],
  ['a double space', 400, `GET  / HTTP/1.1\r\n${HOST}\r\n`],
  ['a space at the end of the request line', 400, `GET / HTTP/1.1 \r\n${HOST}\r\n`],
  ['a tab in the request line', 400, `GET\t/ HTTP/1.1\r\n${HOST}\r\n`],
  ['CONNECT', 405, `CONNECT a:443 HTTP/1.1\r\n${HOST}\r\n`],
  ['TRACE', 405, `TRACE / HTTP/1.1\r\n${HOST}\r\n`],
  ['a lower-case method', 400, `get / HTTP/1.1\r\n${HOST}\r\n`],
  ['an unknown method', 501, `FROB / HTTP/1.1\r\n${HOST}\r\n`],
  ['another expectation', 417, `POST / HTTP/1.1\r\n${HOST}Expect: y 100-continue\r\n\r\n`],
  ['Connection that nominates Host', 400, `GET / HTTP/1.1\r\n${HOST}Connection: close, Host\r\n\r\n`],
  [
    'Connection that nominates Content-Length',
    400,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\nConnection: Content-Length\r\n\r\n`,
  ],
  ['Connection that nominates Cookie', 400, `GET / HTTP/1.1\r\n${HOST}Connection: cookie\r\n\r\n`],
  ['Connection that nominates Authorization', 400, `GET / HTTP/1.1\r\n${HOST}Connection: Authorization\r\n\r\n`],
  ['Connection that nominates X-Forwarded-For', 400, `GET / HTTP/1.1\r\n${HOST}Connection: X-Forwarded-For\r\n\r\n`],
  ['Connection that is no list of tokens', 400, `GET / HTTP/1.1\r\n${HOST}Connection: a b\r\n\r\n`],
  ['close with a no-break space', 400, `GET / HTTP/1.1\r\n${HOST}Connection: close\xa0\r\n\r\n`],
  ['too many fields', 431, `GET / HTTP/1.1\r\n${HOST}${'A: b\r\n'.repeat(100)}\r\n`],
  ['a line that is too long', 431, `GET / HTTP/1.1\r\n${HOST}A: ${'b'.repeat(8200)}\r\n\r\n`],
  ['a target that is too long', 414, `GET /${'b'.repeat(8200)} HTTP/1.1\r\n${HOST}\r\n`],
];

for (const [rule, status, source] of REFUSED) {
  test(`refuses ${rule} with ${status}`, () => {
    const parsed = parse(source);
    assert.equal(parsed.status, status);
    assert.notEqual(parsed.head.problem, '');
  });
}

test('reads a usual request', () => {
  const { head, forwarded } = accept(
    'POST /a/b?c=d HTTP/1.1\r\nHost: A.Example:8443\r\nUser-Agent: curl/8\r\nAccept: */*\r\nContent-Length: 0012\r\n\r\n',
  );
  assert.deepEqual(
    [head.method, head.target, head.path, head.host, head.authority, head.bodyKind, head.contentLength, head.keepAlive],
    ['POST', '/a/b?c=d', '/a/b', 'a.example', 'A.Example:8443', 'length', 12, true],
  );
  assert.equal(head.userAgent, 'curl/8');
  assert.equal(forwarded, 'User-Agent: curl/8\r\nAccept: */*\r\n');
});

test('removes hop-by-hop fields and those Connection nominates', () => {
  const { forwarded } = accept(
    `GET / HTTP/1.1\r\n${HOST}X-Hop: 1\r\nA: b\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\n` +
      'Proxy-Connection: x\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n',
  );
  assert.equal(forwarded, 'A: b\r\n');
});

test('drops what only a proxy may say, and names some servers take for others', () => {
  const { forwarded } = accept(
    `GET / HTTP/1.1\r\n${HOST}X-Forwarded-For: 6.6.6.6\r\nx-forwarded-anything: 1\r\nForwarded: for=6\r\nX-Real-IP: 6\r\n` +
      'Via: 1.1 evil\r\nProxy: http://evil\r\nX-Request-Id: mine\r\nX_Forwarded_For: 6\r\nX.Y: 1\r\nZ: kept\r\n\r\n',
  );
  assert.equal(forwarded, 'Z: kept\r\n');
});

test('takes as many fields and as long a request line as its limits say, and no more', () => {
  // "GET / HTTP/1.1" are 14 bytes, Host is a field.
  const status = (pathLength: number, count: number, limits = LIMITS): number =>
    parse(`GET /${'a'.repeat(pathLength - 1)} HTTP/1.1\r\n${HOST}${'X: y\r\n'.repeat(count - 1)}\r\n`, limits).status;
  for (const limits of [LIMITS, { maxHeaders: 10, maxRequestLine: 256 }, { maxHeaders: 500, maxRequestLine: 12_000 }]) {
    const { maxHeaders, maxRequestLine } = limits;
    assert.equal(status(maxRequestLine - 13, maxHeaders, limits), 0);
    assert.equal(status(maxRequestLine - 12, maxHeaders, limits), 414);
    assert.equal(status(1, maxHeaders + 1, limits), 431);
  }
});

test('removes what Connection nominates from among more fields than usual', () => {
  const many = 'X: y\r\n'.repeat(150);
  const source = `GET / HTTP/1.1\r\n${HOST}Connection: X-Hop\r\n${many}X-Hop: 1\r\nA: b\r\n\r\n`;
  const { status, forwarded } = parse(source, { ...LIMITS, maxHeaders: 200 });
  assert.equal(status, 0);
  assert.equal(forwarded, `${many}A: b\r\n`);
});

test('writes odd whitespace anew', () => {
  const { forwarded } = accept(`GET / HTTP/1.1\r\n${HOST}A:b\r\nC:  \t d \t\r\nE: f\r\nG:\r\n\r\n`);
  assert.equal(forwarded, 'A: b\r\nC: d\r\nE: f\r\nG: \r\n');
});

test('an absolute target without a path is "/", or "*" of OPTIONS', () => {
  assert.equal(accept(`GET http://a HTTP/1.1\r\n${HOST}\r\n`).head.target, '/');
  assert.equal(accept(`OPTIONS http://a HTTP/1.1\r\n${HOST}\r\n`).head.target, '*');
  assert.equal(accept(`OPTIONS http://a?q HTTP/1.1\r\n${HOST}\r\n`).head.target, '/?q');
});

test('takes the authority of an absolute target over Host', () => {
  const { head } = accept('GET https://B.example:444?x HTTP/1.1\r\nHost: a.example\r\n\r\n');
  assert.deepEqual(
    [head.scheme, head.host, head.authority, head.target],
    ['https', 'b.example', 'B.example:444', '/?x'],
  );
});

test('forwards the path it routes on', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['/a/../b', '/b'],
    ['/a/./b/', '/a/b/'],
    ['/a/%2e%2E/b?x=/../y', '/b?x=/../y'],
    ['/../../etc/passwd', '/etc/passwd'],
    ['/a/..', '/'],
    ['/a/b/..', '/a/'],
    ['/a/.', '/a/'],
    ['/.', '/'],
    ['/a..b/...', '/a..b/...'],
    ['//a//b', '//a//b'],
    ['/a%2Fb', '/a%2Fb'],
    ['/?discount=50%', '/?discount=50%'],
  ];
  for (const [target, expected] of cases) {
    const { head } = accept(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`);
    assert.equal(head.target, expected, target);
    assert.equal(head.path, expected.split('?')[0]);
  }
});

test('keeps a connection as the version and Connection say', () => {
  const cases: readonly (readonly [string, boolean])[] = [
    [`GET / HTTP/1.1\r\n${HOST}\r\n`, true],
    [`GET / HTTP/1.1\r\n${HOST}Connection: Close\r\n\r\n`, false],
    [`GET / HTTP/1.0\r\n${HOST}\r\n`, false],
    [`GET / HTTP/1.0\r\n${HOST}Connection: keep-alive\r\n\r\n`, true],
    [`GET / HTTP/1.1\r\n${HOST}Connection: keep-alive\r\nConnection: close\r\n\r\n`, false],
  ];
  for (const [source, keepAlive] of cases) assert.equal(accept(source).head.keepAlive, keepAlive, source);
});

test('knows an IPv6 host and a trailing dot', () => {
  assert.equal(accept('GET / HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n').head.host, '::1');
  assert.equal(accept('GET / HTTP/1.1\r\nHost: a.example.:443\r\n\r\n').head.host, 'a.example');
});

test('heeds an expectation in HTTP/1.1 only', () => {
  assert.equal(accept(`POST / HTTP/1.1\r\n${HOST}Expect: 100-Continue\r\n\r\n`).head.expectContinue, true);
  assert.equal(accept(`POST / HTTP/1.0\r\n${HOST}Expect: 100-continue\r\n\r\n`).head.expectContinue, false);
});
