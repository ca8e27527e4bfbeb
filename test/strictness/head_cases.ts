/** The lines of a head (RFC 9112 sections 2 and 5): rules 5, 6, 23 and 28. */
import { CHUNKED, chunked, each, isText, length, REFUSED, request, SMUGGLED, sweep, sweepLineEnd } from './cases.ts';
import type { Case, Table } from './cases.ts';

const GET = { method: 'GET' } as const;
const GOOD = request({ ...GET, target: '/good' });
const field = (line: string): string => request({ ...GET, fields: line });

const bytes: Case[] = [
  ...sweep('before the method', (byte) => byte + GOOD),
  ...sweep('within the method', (byte) => request({ method: `G${byte}ET` })),
  ...sweep('after the method', (byte) => request({ method: `GET${byte}` })),
  ...sweep('before the version', (byte) => request({ ...GET, version: `${byte}HTTP/1.1` })),
  ...sweep('after the version', (byte) => request({ ...GET, version: `HTTP/1.1${byte}` })),
  ...sweep('before a field name', (byte) => field(`${byte}X-A: b\r\n`)),
  ...sweep('within a field name', (byte) => field(`X-${byte}A: b\r\n`)),
  ...sweep('before a colon', (byte) => field(`X-A${byte}: b\r\n`)),
  ...sweep(
    'before a value',
    (byte) => field(`X-A: ${byte}b\r\n`),
    (code) => (isText(code) ? 'forwarded' : REFUSED),
  ),
  ...sweep(
    'within a value',
    (byte) => field(`X-A: a${byte}b\r\n`),
    (code) => (isText(code) ? 'forwarded' : REFUSED),
  ),
  ...sweep(
    'after a value',
    (byte) => field(`X-A: b${byte}\r\n`),
    (code) => (isText(code) ? 'forwarded' : REFUSED),
  ),
  ...sweepLineEnd('after the request line', (end) => `GET /t HTTP/1.1${end}Host: a\r\n\r\n`),
  ...sweepLineEnd('after a field', (end) => field(`X: y${end}X-B: c\r\n`)),
  ...sweepLineEnd('after the last field', (end) => `GET /t HTTP/1.1\r\nHost: a\r\nX: y${end}\r\n\r\n`),
  ...sweep('before the empty line', (byte) => request({ ...GET, fields: `X: y\r\n${byte}\r\n` })),
  ...each(
    [
      'GET /t HTTP/1.1\nHost: a\n\n',
      'GET /t HTTP/1.1\nHost: a\r\n\r\n',
      'GET /t HTTP/1.1\r\nHost: a\n\r\n',
      'GET /t HTTP/1.1\r\nHost: a\r\n\n',
      'GET /t HTTP/1.1\r\nHost: a\r\n\r',
      'GET /t HTTP/1.1\rHost: a\r\r',
      'GET /t HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n',
      'GET /t HTTP/1.1\r\rHost: a\r\n\r\n',
      '\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n',
      '\rGET /t HTTP/1.1\r\nHost: a\r\n\r\n',
      '\r\n\r\n\r\n\r\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET /t HTTP/1.1\n\rHost: a\r\n\r\n',
      '\0\0\0\0\r\n\r\n',
    ],
    (text) => text,
    [400, 408],
  ),
  ...each(['\r\n', '\r\n\r\n'], (lines) => lines + GOOD, 'forwarded'),
];

const lines: Case[] = [
  ...each(
    [
      [
        ' X: y\r\n',
        '\tX: y\r\n',
        'X : y\r\n',
        'X\t: y\r\n',
        'X Y: z\r\n',
        'X\r\n',
        ': y\r\n',
        ':\r\n',
        ' : y\r\n',
        'X: y\r\n z\r\n',
      ],
      [
        'X: y\r\n\tz\r\n',
        'X: y\r\n \r\n',
        'X:\r\n y\r\n',
        'X: y\r\n\t\r\nZ: z\r\n',
        '=: y\r\n',
        '"X": y\r\n',
        'X, Y: z\r\n',
        '(X): y\r\n',
      ],
      [
        '{X}: y\r\n',
        '[X]: y\r\n',
        'X;: y\r\n',
        'X@: y\r\n',
        'X?: y\r\n',
        '/X: y\r\n',
        'X\\: y\r\n',
        '<X>: y\r\n',
        'X=Y\r\n',
        'X\r\n: y\r\n',
      ],
      [
        'GET /smuggled HTTP/1.1\r\n',
        'HTTP/1.1 200 OK\r\n',
        ' \r\n',
        '\t\r\n',
        'X: y\r\n  \tTransfer-Encoding: chunked\r\n',
        ',: y\r\n',
      ],
    ],
    field,
    REFUSED,
  ),
  ...each(
    ['Content-Length', 'Transfer-Encoding', 'Host', 'Connection', 'Expect'].flatMap((name) => [
      `${name} : 1\r\n`,
      `${name}\t: 1\r\n`,
      ` ${name}: 1\r\n`,
      `${name}:\r\n 1\r\n`,
      `${name}: 1\r\n 2\r\n`,
      `X: y\r\n ${name}: 1\r\n`,
      `${name}\r\n`,
      `${name} 1\r\n`,
    ]),
    field,
    // A folded line is two: the first may already be the reason.
    [400, 417, 501],
  ),
  // As the first line after the request line, where some readers skip it.
  ...each(
    [
      ' X: y\r\n',
      '\tX: y\r\n',
      ' Host: b\r\n',
      ' \r\n',
      ' Content-Length: 5\r\n',
      ' Transfer-Encoding: chunked\r\n',
      '\t\tTransfer-Encoding: chunked\r\n',
    ],
    (line) => request({ host: `${line}Host: a\r\n` }),
    REFUSED,
  ),
  ...each(
    [
      'X:\r\n',
      'X: \r\n',
      'X:y\r\n',
      'X:\ty\r\n',
      'X:   y   \r\n',
      'X: a: b\r\n',
      'X: "\r\n',
      'X: a\tb\r\n',
      'X: a,b;c=d\r\n',
      "!#$%&'*+-^`|~09Az: y\r\n",
    ],
    field,
    'forwarded',
  ),
];

const ODD_NAMES = [
  'X_A',
  'X.A',
  '_',
  '.',
  'Content_Length',
  'Content.Length',
  'Transfer_Encoding',
  'Transfer.Encoding',
  'Host_',
  'X_Forwarded_For',
  'X_Forwarded.Proto',
  'X_Real_IP',
  'HTTP_HOST',
  'Proxy_',
  '__proto__',
  '._',
  'Cookie_',
  'REMOTE_ADDR',
  'X-A_',
  'Content-Length_',
];
const names: Case[] = [
  ...each(
    ODD_NAMES,
    (name) => request({ fields: `${name}: 5\r\nX-B: c\r\n${length('hello')}`, body: 'hello' }),
    'forwarded',
  ),
  ...each(ODD_NAMES, (name) => request({ ...GET, fields: `X-B: c\r\n${name}: chunked\r\n` }), 'forwarded'),
  ...each(
    ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'prototype', '0', '1e3'],
    (name) => field(`${name}: y\r\n`),
    'forwarded',
  ),
];

const BROKEN = [
  'GET / HTTP/1.1\r\n\r\n',
  'GET / HTTP/3.0\r\nHost: a\r\n\r\n',
  'GET /\r\n\r\n',
  'nonsense\r\n\r\n',
  '\0\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n',
  'GET /# HTTP/1.1\r\nHost: a\r\n\r\n',
  'FOO / HTTP/1.1\r\nHost: a\r\n\r\n',
  'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n',
  request({ fields: `${length('hello')}${CHUNKED}`, body: 'hello' }),
  request({ fields: 'Transfer-Encoding: gzip\r\n', body: 'hello' }),
  request({ fields: 'Content-Length: x\r\n', body: 'hello' }),
  request({ fields: 'Expect: much\r\n' }),
  request({ fields: CHUNKED, body: 'x\r\n' }),
  request({ fields: CHUNKED, body: '5\r\nhelloX0\r\n\r\n' }),
  request({ fields: CHUNKED, body: '0\r\nX\r\n\r\n' }),
];
const resync: Case[] = [
  ...each(BROKEN, (broken) => broken + GOOD, [400, 405, 417, 501, 505]),
  ...each(BROKEN, (broken) => broken + GOOD.repeat(20), [400, 405, 417, 501, 505]),
  ...each(BROKEN, (broken) => GOOD + broken + GOOD, 1),
  ...each(BROKEN, (broken) => request({ fields: length('hello'), body: 'hello' }) + broken + GOOD, 1),
  ...each(BROKEN, (broken) => request({ fields: CHUNKED, body: chunked('hello') }) + broken + SMUGGLED, 1),
];

export const HEADS: readonly Table[] = [
  {
    rule: 5,
    source: 'RFC 9112 section 2.2, RFC 9110 section 5.5',
    title: 'refuses control bytes and bare line ends in a head',
    cases: bytes,
  },
  {
    rule: 6,
    source: 'RFC 9112 sections 5.1 and 5.2',
    title: 'refuses folded lines and names that are no tokens',
    cases: lines,
  },
  {
    rule: 23,
    source: 'RFC 3875 section 4.1.18',
    title: 'drops names that CGI would confuse with others',
    cases: names,
  },
  { rule: 28, source: 'RFC 9112 section 2.2', title: 'reads nothing after what it refused', cases: resync },
];
