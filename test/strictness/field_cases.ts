/** Fields that say something to the proxy itself (RFC 9110 sections 7.6, 7.8 and 10.1.1): rules 16, 17, 19, 24 and 27. */
import { CHUNKED, chunked, each, FORGED, isText, length, REFUSED, request, SMUGGLED, sweep } from './cases.ts';
import type { Case, Table } from './cases.ts';

const get = (fields: string): string => request({ method: 'GET', fields });
const post = (fields: string): string => request({ fields: fields + length('hello'), body: 'hello' });

const NEEDED = [
  'Host',
  'Content-Length',
  'Transfer-Encoding',
  'Content-Type',
  'Cookie',
  'Authorization',
  'Forwarded',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Real-IP',
  'X-Request-Id',
];
const nominations: Case[] = [
  ...NEEDED.flatMap((name) =>
    [
      name,
      name.toLowerCase(),
      name.toUpperCase(),
      `close, ${name}`,
      `${name}, close`,
      `X-A,${name}`,
      `,,${name},,`,
      `\t${name}\t`,
      `keep-alive\r\nConnection: ${name}`,
    ].map((value) => ({
      name: `Connection: ${value}`,
      bytes: post(`Connection: ${value}\r\nX-A: b\r\n`),
      outcome: REFUSED,
    })),
  ),
  ...each(
    [
      'X-A',
      'x-a',
      'X-A, X-B',
      'X-A,X-B',
      'close, X-A',
      'keep-alive, X-A',
      ',X-A,',
      'X-A\r\nConnection: X-B',
      'X-A, close\r\nConnection: X-B',
      'TE, X-A',
      'Trailer',
      'X-Absent',
      'Upgrade',
      'Accept',
      'X-A,,X-A',
      'X_A',
      'keep-alive',
      'Keep-Alive',
      'KEEP-ALIVE',
      'close',
      'Close',
      'CLOSE',
      'close, close',
      'close, keep-alive',
      'keep-alive, close',
      '',
      ',',
      'Connection',
      'Proxy-Connection',
      'User-Agent',
    ],
    (value) =>
      post(
        `X-A: ${FORGED}\r\nX-Kept: 1\r\nConnection: ${value}\r\nX-B: ${FORGED}\r\nAccept: a\r\nUser-Agent: u\r\n`.replaceAll(
          FORGED,
          value.toLowerCase().includes('x-b') ? FORGED : 'plain',
        ),
      ),
    'forwarded',
  ),
  ...each(
    [
      'a b',
      '"close"',
      'close;q=1',
      'close=1',
      'clo/se',
      '(close)',
      '{x}',
      '@',
      'X-A:',
      'close, "x',
      'X A',
      'é',
      'X-A;',
      '<x>',
      '\\',
      '=',
    ].map((value) => Buffer.from(value).toString('latin1')),
    (value) => post(`Connection: ${value}\r\n`),
    REFUSED,
  ),
  ...sweep('in a nomination', (byte) => post(`Connection: X-${byte}A\r\n`)),
  ...sweep('after close', (byte) => post(`Connection: close${byte}\r\n`)),
  ...[
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'TE',
    'Trailer',
    'Upgrade',
    'HTTP2-Settings',
    'Via',
    'Forwarded',
    'Proxy',
  ].flatMap((name) =>
    each(
      [name, name.toLowerCase(), name.toUpperCase()],
      (written) => post(`${written}: ${FORGED}\r\nX-Kept: 1\r\n${written}: ${FORGED}\r\n`),
      'forwarded',
    ),
  ),
  ...each(
    ['trailers', 'chunked', 'gzip, chunked', 'trailers, deflate;q=0.5', ''],
    (value) => post(`TE: ${value}\r\n`),
    'forwarded',
  ),
];

const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n';
const upgrades: Case[] = [
  ...each(
    [
      'h2c',
      'H2C',
      'h2',
      'h2c, foo',
      'foo, h2c',
      'TLS/1.0',
      'HTTP/2.0',
      'HTTP/3',
      'foo',
      'IRC/6.9',
      'connect-udp',
      'h2c/1',
      'h2c;a=b',
      '',
      ',h2c',
      'h2c\r\nUpgrade: h2c',
      'h2c, h2c',
    ],
    (value) => get(`Connection: Upgrade\r\nUpgrade: ${value}\r\n`),
    'forwarded',
  ),
  ...each(['h2c', 'foo'], (value) => get(`Upgrade: ${value}\r\n`), 'forwarded'),
  ...each(
    [
      'Connection: Upgrade, HTTP2-Settings\r\n',
      'Connection: HTTP2-Settings\r\n',
      'Connection: upgrade\r\n',
      'connection:UPGRADE,http2-SETTINGS\r\n',
      '',
    ],
    (connection) => get(`${connection}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n`),
    'forwarded',
  ),
  { name: 'h2c with a length', bytes: request({ fields: H2C + length('hello'), body: 'hello' }), outcome: 'forwarded' },
  {
    name: 'h2c with a chunked body',
    bytes: request({ fields: H2C + CHUNKED, body: chunked('hello') }),
    outcome: 'forwarded',
  },
  { name: 'h2c and another request at once', bytes: get(H2C) + SMUGGLED, outcome: 'forwarded' },
  { name: 'h2c and a preface at once', bytes: `${get(H2C)}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, outcome: 'forwarded' },
  {
    name: 'h2c in HTTP/1.0',
    bytes: request({ method: 'GET', version: 'HTTP/1.0', fields: H2C }),
    outcome: 'forwarded',
  },
  ...each(
    ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH'],
    (method) => request({ method, fields: H2C }),
    'forwarded',
  ),
  ...sweep(
    'in Upgrade',
    (byte) => get(`Connection: Upgrade\r\nUpgrade: h2c${byte}\r\n`),
    (code) => (isText(code) ? 'forwarded' : REFUSED),
  ),
];

const expectations: Case[] = [
  ...each(
    ['100-continue', '100-Continue', '100-CONTINUE', ' 100-continue ', '\t100-continue'],
    (value) => post(`Expect: ${value}\r\n`),
    'forwarded',
  ),
  ...each(
    ['100-continue', '100-CONTINUE'],
    (value) => request({ fields: `Expect: ${value}\r\n${CHUNKED}`, body: chunked('hello') }),
    'forwarded',
  ),
  ...each(
    ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'],
    (method) => request({ method, fields: 'Expect: 100-continue\r\n' }),
    'forwarded',
  ),
  { name: 'twice', bytes: post('Expect: 100-continue\r\nExpect: 100-continue\r\n'), outcome: 'forwarded' },
  ...each(
    ['y 100-continue', '100-continue y', 'much', 'a miracle', 'y'],
    (value) => request({ version: 'HTTP/1.0', fields: `Expect: ${value}\r\n${length('hello')}`, body: 'hello' }),
    'forwarded',
  ),
  ...each(
    [
      '',
      'y 100-continue',
      '100-continue y',
      '100-continue, 100-continue',
      '100-continue,',
      ',100-continue',
      '100-continue;a=b',
      '"100-continue"',
      '100 -continue',
      '100- continue',
      '100',
      'continue',
      '100_continue',
      '100-continu',
      '100-continues',
      'x100-continue',
      '200-ok',
      '100-continue=1',
      'a miracle',
      '101',
      "'100-continue'",
      '100--continue',
      '1oo-continue',
      '100-continue\tx',
      '00100-continue',
      '+100-continue',
      '100-continue\r\nExpect: y',
      'y\r\nExpect: 100-continue',
    ],
    (value) => post(`Expect: ${value}\r\n`),
    [417],
  ),
  ...['CL', 'TE', 'none'].flatMap((framing) =>
    each(
      [
        'Expect : 100-continue\r\n',
        'Expect\t: 100-continue\r\n',
        ' Expect: 100-continue\r\n',
        'Expect:\r\n 100-continue\r\n',
        'Expect: 100-continue\n',
        'Expect: 100-continue\r\r\n',
      ],
      (line) =>
        framing === 'CL'
          ? post(line)
          : framing === 'TE'
            ? request({ fields: line + CHUNKED, body: chunked() })
            : get(line),
      [400, 417],
    ),
  ),
  ...sweep(
    'before 100-continue',
    (byte) => post(`Expect: ${byte}100-continue\r\n`),
    (code) => (isText(code) ? [417] : REFUSED),
  ),
  ...sweep(
    'after 100-continue',
    (byte) => post(`Expect: 100-continue${byte}\r\n`),
    (code) => (isText(code) ? [417] : REFUSED),
  ),
  ...sweep(
    'within 100-continue',
    (byte) => post(`Expect: 100${byte}-continue\r\n`),
    (code) => (isText(code) ? [417] : REFUSED),
  ),
];

const CLAIMS = [
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Prefix',
  'X-Forwarded-Server',
  'X-Forwarded-Ssl',
  'X-Forwarded-',
  'X-Forwarded-Anything',
  'X-Real-IP',
  'X-Request-Id',
  'Forwarded',
  'Via',
  'Proxy',
  'Proxy-Authorization',
  'X_Forwarded_For',
  'X-Forwarded_For',
  'X.Real.IP',
];
const identity: Case[] = CLAIMS.flatMap((name) =>
  [name, name.toLowerCase(), name.toUpperCase()].flatMap((written) =>
    [
      `${written}: ${FORGED}\r\n`,
      `${written}:${FORGED}\r\nX-Kept: 1\r\n${written}:\t${FORGED}\r\n`,
      `Connection: close, X-Other\r\n${written}: ${FORGED}\r\nX-Other: ${FORGED}\r\n`,
    ].map((fields): Case => ({ name: fields, bytes: post(fields), outcome: 'forwarded' })),
  ),
);

const PIPELINED = [
  get(''),
  post(''),
  request({ fields: CHUNKED, body: chunked('a', 'b') }),
  request({ method: 'HEAD' }),
  get('Expect: 100-continue\r\n'),
];
const pipelines: Case[] = [
  ...PIPELINED.flatMap((first, i) =>
    PIPELINED.map((second, j): Case => ({ name: `${i} and ${j}`, bytes: first + second, outcome: 'forwarded' })),
  ),
  { name: 'all, three times', bytes: PIPELINED.join('').repeat(3), outcome: 'forwarded' },
  { name: 'forty', bytes: get('').repeat(40), outcome: 'forwarded' },
  { name: 'with empty lines between', bytes: PIPELINED.join('\r\n'), outcome: 'forwarded' },
  { name: 'after Connection: close', bytes: post('Connection: close\r\n') + get(''), outcome: 'forwarded' },
  { name: 'after HTTP/1.0', bytes: request({ method: 'GET', version: 'HTTP/1.0' }) + get(''), outcome: 'forwarded' },
];

export const FIELDS: readonly Table[] = [
  {
    rule: 16,
    source: 'RFC 9110 section 7.6.1',
    title: 'keeps what concerns one connection to itself',
    cases: nominations,
  },
  {
    rule: 17,
    source: 'RFC 9110 section 7.8',
    title: 'forwards no upgrade to h2c or to anything unknown',
    cases: upgrades,
  },
  {
    rule: 19,
    source: 'RFC 9110 section 10.1.1',
    title: 'knows 100-continue and forwards no expectation',
    cases: expectations,
  },
  { rule: 24, source: 'RFC 9110 section 7.6', title: 'believes no client about who it is', cases: identity },
  {
    rule: 27,
    source: 'RFC 9112 section 9.3.2',
    title: 'has one request at a time on a connection upstream',
    cases: pipelines,
  },
];
