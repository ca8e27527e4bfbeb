/** How a request begins, and how large it may be (RFC 9112 sections 2.3 and 3): rules 13, 14 and 22. */
import { METHODS } from 'node:http';
import { CHUNKED, chunked, each, length, REFUSED, request, SMUGGLED } from './cases.ts';
import type { Case, Table } from './cases.ts';

const GET = { method: 'GET' } as const;
const field = (line: string): string => request({ ...GET, fields: line });

const versions: Case[] = [
  ...each(
    [
      [
        'HTTP/0.9',
        'HTTP/1.2',
        'HTTP/1.9',
        'HTTP/2.0',
        'HTTP/2.1',
        'HTTP/3.0',
        'HTTP/9.9',
        'HTTP/0.0',
        'HTTP/0.1',
        'HTTP/1.7',
        'HTTP/5.1',
      ],
      [
        'HTTP/1.10',
        'HTTP/1.01',
        'HTTP/01.1',
        'HTTP/1',
        'HTTP/1.',
        'HTTP/.1',
        'HTTP/',
        'HTTP',
        'http/1.1',
        'Http/1.1',
        'HTTP/1,1',
        'HTTP/1.1.',
      ],
      [
        'HTTP /1.1',
        'HTTP/ 1.1',
        'HTTP/1 .1',
        'HTTP/1. 1',
        'HTTP/11',
        'HTTP/1.1x',
        'HTTP/1.1 HTTP/1.1',
        'HTTP/1.1 ',
        ' HTTP/1.1',
        'HTTP/1.1\t',
      ],
      [
        'HTTPS/1.1',
        'HTTP/-1.1',
        'HTTP/+1.1',
        'HTTP/1.a',
        'HTTP/a.1',
        'ICY/1.1',
        'RTSP/1.0',
        'SIP/2.0',
        'HTTP\\1.1',
        'HTTP1.1',
        '',
        ' ',
        'HTTP/1.1;',
      ],
    ],
    (version) => request({ ...GET, version }),
    [400, 505],
  ),
  ...each(
    [
      'GET  /t HTTP/1.1',
      'GET\t/t HTTP/1.1',
      'GET /t\tHTTP/1.1',
      'GET /t  HTTP/1.1',
      ' GET /t HTTP/1.1',
      'GET /t',
      'GET',
      '',
      '/t HTTP/1.1',
      'GET HTTP/1.1',
      'GET /a b HTTP/1.1',
      'GET/t HTTP/1.1',
      'GET /tHTTP/1.1',
      'GET /t HTTP/1.1 HTTP/1.1',
      'HTTP/1.1 200 OK',
      'GET \t /t HTTP/1.1',
    ],
    (line) => `${line}\r\nHost: a\r\n\r\n`,
    [400, 505],
  ),
  ...each(['HTTP/1.0', 'HTTP/1.1'], (version) => request({ ...GET, version }), 'forwarded'),
  ...each(
    ['HTTP/1.0', 'HTTP/1.1'],
    (version) => request({ ...GET, version, fields: 'Connection: keep-alive\r\n' }).repeat(2),
    'forwarded',
  ),
  { name: 'HTTP/1.0 without Host', bytes: request({ ...GET, version: 'HTTP/1.0', host: '' }), outcome: 'forwarded' },
];

const known = METHODS.filter((method) => method !== 'CONNECT' && method !== 'TRACE');
const methods: Case[] = [
  ...each(known, (method) => request({ method }), 'forwarded'),
  ...['CONNECT', 'TRACE'].flatMap((method) =>
    ['/t', 'a:443', 'a', '*', 'http://a/', '/'].flatMap((target) =>
      ['', length('hello'), CHUNKED].map((fields) => ({
        name: `${method} ${target} ${fields.trim()}`,
        bytes: request({
          method,
          target,
          fields,
          body: fields === CHUNKED ? chunked('hello') : fields === '' ? SMUGGLED : 'hello',
        }),
        outcome: [405],
      })),
    ),
  ),
  ...each(
    known.map((method) => method.toLowerCase()),
    (method) => request({ method }),
    REFUSED,
  ),
  ...each(
    known.map((method) => method.charAt(0) + method.slice(1).toLowerCase()),
    (method) => request({ method }),
    REFUSED,
  ),
  ...each(
    ['FOO', 'GETX', 'XGET', 'POSTS', 'PRI', 'TRACK', 'DEBUG', 'SPACEJUMP', 'GET-', 'A', 'BASELINE-CONTROL'],
    (method) => request({ method }),
    [501],
  ),
  ...each(
    [
      '',
      'G',
      'GET_',
      'GET.',
      'GET1',
      '"GET"',
      'GET,POST',
      'GET;',
      'GET:',
      'GET/',
      '(GET)',
      'G,ET',
      'GET@',
      'GET=',
      '{GET}',
      'A'.repeat(200),
      '\xc7ET',
      'GE\t',
    ],
    (method) => request({ method }),
    [400, 501],
  ),
];

const limits: Case[] = [
  ...[10, 50, 99].map((count): Case => ({
    name: `${count} fields more`,
    bytes: field('X: y\r\n'.repeat(count)),
    outcome: 'forwarded',
  })),
  ...[100, 101, 200, 1000].map((count): Case => ({
    name: `${count} fields more`,
    bytes: field('X: y\r\n'.repeat(count)),
    outcome: [431],
  })),
  ...[100, 4000, 8000].map((size): Case => ({
    name: `a line of ${size}`,
    bytes: field(`X: ${'y'.repeat(size)}\r\n`),
    outcome: 'forwarded',
  })),
  ...[8200, 12_000, 16_000, 17_000, 100_000].map((size): Case => ({
    name: `a line of ${size}`,
    bytes: field(`X: ${'y'.repeat(size)}\r\n`),
    outcome: [431],
  })),
  ...[8200, 20_000].map((size): Case => ({
    name: `a name of ${size}`,
    bytes: field(`${'X'.repeat(size)}: y\r\n`),
    outcome: [431],
  })),
  ...[3, 5, 20].map((count): Case => ({
    name: `${count} lines of 6000`,
    bytes: field(`X: ${'y'.repeat(6000)}\r\n`.repeat(count)),
    outcome: [431],
  })),
  ...[100, 4000, 8000].map((size): Case => ({
    name: `a target of ${size}`,
    bytes: request({ ...GET, target: `/${'t'.repeat(size)}` }),
    outcome: 'forwarded',
  })),
  ...[8200, 12_000, 16_000].map((size): Case => ({
    name: `a target of ${size}`,
    bytes: request({ ...GET, target: `/${'t'.repeat(size)}` }),
    outcome: [414],
  })),
  { name: 'a target of 100000', bytes: request({ ...GET, target: `/${'t'.repeat(100_000)}` }), outcome: [414, 431] },
  { name: 'a head without an end', bytes: `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(5000)}`, outcome: [431] },
  { name: 'a line without an end', bytes: 'A'.repeat(40_000), outcome: [431] },
  {
    name: 'a framing field past the count',
    bytes: request({ fields: `${'X: y\r\n'.repeat(110)}${CHUNKED}`, body: chunked(SMUGGLED) }),
    outcome: [431],
  },
];

export const STARTS: readonly Table[] = [
  {
    rule: 13,
    source: 'RFC 9112 sections 2.3 and 3',
    title: 'speaks HTTP/1.0 and 1.1 with single spaces',
    cases: versions,
  },
  {
    rule: 14,
    source: 'RFC 9110 sections 9.1, 9.3.6 and 9.3.8',
    title: 'knows its methods, and neither CONNECT nor TRACE',
    cases: methods,
  },
  {
    rule: 22,
    source: 'RFC 6585 section 5, RFC 9110 section 15.5.15',
    title: 'bounds lines, fields and heads',
    cases: limits,
  },
];
