/** Where a request's body ends (RFC 9112 section 6): rules 1 to 4 and 15. */
import { METHODS } from 'node:http';
import { casings, CHUNKED, chunked, each, isText, length, REFUSED, request, SMUGGLED, sweep } from './cases.ts';
import type { Case, Table } from './cases.ts';

const BODY = chunked('hello');
const TUNNELS = new Set(['CONNECT', 'TRACE']);
const BODY_METHODS = METHODS.filter((method) => !TUNNELS.has(method));
const REFUSED_CODING = [400, 501] as const;

/** One Transfer-Encoding line alone, and in the two shapes in which two readers would disagree. */
function shapes(line: string, outcome: Case['outcome']): Case[] {
  const clTe = `0\r\n\r\n${SMUGGLED}`;
  const teCl = chunked(SMUGGLED);
  return [
    { name: `${JSON.stringify(line)} alone`, bytes: request({ fields: line, body: BODY }), outcome },
    {
      name: `${JSON.stringify(line)} after Content-Length`,
      bytes: request({ fields: length(clTe) + line, body: clTe }),
      outcome,
    },
    {
      name: `${JSON.stringify(line)} before Content-Length`,
      bytes: request({ fields: `${line}Content-Length: 4\r\n`, body: teCl }),
      outcome,
    },
  ];
}

const both: Case[] = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'].flatMap((method) =>
  ['0', '4', '5', '06', '400'].flatMap((size) =>
    ['chunked', 'Chunked', 'identity', 'gzip, chunked', ''].flatMap((coding) =>
      [
        `Content-Length: ${size}\r\nTransfer-Encoding: ${coding}\r\n`,
        `transfer-encoding:${coding}\r\nX: y\r\ncontent-length:${size}\r\n`,
      ].map((fields) => ({
        name: `${method} ${JSON.stringify(fields)}`,
        bytes: request({ method, fields, body: `0\r\n\r\n${SMUGGLED}` }),
        outcome: REFUSED_CODING,
      })),
    ),
  ),
);

const withLength = (value: string): string => request({ fields: `Content-Length: ${value}\r\n`, body: 'sixsix' });

const lengths: Case[] = [
  ...each(
    [
      [
        '6, 6',
        '6,6',
        '6 6',
        ',6',
        '6,',
        '6;',
        '6, 7',
        '+6',
        '-6',
        '0x6',
        '6_0',
        '6.0',
        '.6',
        '6e0',
        '1e1',
        '"6"',
        "'6'",
      ],
      [
        '',
        '- 6',
        '6-',
        '6h',
        'six',
        '\xef\xbc\x96',
        '6\t6',
        '6 HTTP/1.1',
        '6:6',
        '(6)',
        '٦',
        '0o6',
        '0b1',
        'NaN',
        '%36',
      ],
      ['9007199254740992', '18446744073709551622', '4294967302.0', '99999999999999999999', '00000000000000006'],
      ['-0', '+0', '0x0', '00x6', '6\\r', '6,0', '0,6', 'Infinity', '-18446744073709551610', '6\u00a0', '\u00a06'],
    ]
      .flat()
      .map((value) => Buffer.from(value, 'utf8').toString('latin1')),
    withLength,
    REFUSED,
  ),
  ...each(['6', '06', '006', '0000000000000006', ' 6', '6 ', '  6  '], withLength, 'forwarded'),
  ...each(['\t6', '6\t', '  \t 6', '6 \t '], withLength, REFUSED),
  ...sweep('before the length', (byte) => withLength(`${byte}6`)),
  ...sweep('after the length', (byte) => withLength(`6${byte}`)),
  ...sweep('between the digits', (byte) => withLength(`0${byte}6`)),
  ...['6', '0', '06', '7', '+6', ''].flatMap((second) =>
    ['Content-Length', 'content-length', 'CONTENT-LENGTH', 'Content-length'].flatMap((name) =>
      ['', 'X: y\r\n'].map((between) => ({
        name: `6, then ${name}: ${second}${between === '' ? '' : ', apart'}`,
        bytes: request({ fields: `Content-Length: 6\r\n${between}${name}: ${second}\r\n`, body: 'sixsix' }),
        outcome: REFUSED,
      })),
    ),
  ),
  // CL.0 and 0.CL: whoever ignores the length sees a second request, or none.
  ...['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'].flatMap((method): Case[] => [
    {
      name: `${method} CL.0`,
      bytes: request({ method, fields: length(SMUGGLED), body: SMUGGLED }),
      outcome: 'forwarded',
    },
    {
      name: `${method} 0.CL`,
      bytes: request({ method, fields: 'Content-Length: 0\r\n', body: SMUGGLED }),
      outcome: 'forwarded',
    },
    { name: `${method} without a length`, bytes: request({ method, body: SMUGGLED }), outcome: 'forwarded' },
    { name: `${method} cut`, bytes: request({ method, fields: 'Content-Length: 9\r\n', body: 'cut' }), outcome: [408] },
    {
      name: `${method} TE.0`,
      bytes: request({ method, fields: CHUNKED, body: chunked(SMUGGLED) }),
      outcome: 'forwarded',
    },
    {
      name: `${method} 0.TE`,
      bytes: request({ method, fields: CHUNKED, body: `0\r\n\r\n${SMUGGLED}` }),
      outcome: 'forwarded',
    },
  ]),
];

const codings: Case[] = [
  ...[
    ['gzip, chunked', 'chunked, gzip', 'chunked, chunked', 'chunked,chunked', ',chunked', 'chunked,', ', chunked ,'],
    [
      'identity, chunked',
      'chunked, identity',
      'chunked identity',
      'identity chunked',
      'chunked;q=1',
      'chunked;',
      ';chunked',
    ],
    [
      '"chunked"',
      "'chunked'",
      'chunked"',
      '"chunked',
      '(chunked)',
      '<chunked>',
      'xchunked',
      'chunkedx',
      'x-chunked',
      'chunked-x',
    ],
    [
      'chunk',
      'chunke',
      'hunked',
      'chunkd',
      'chuncked',
      'chunked0',
      '0chunked',
      'c hunked',
      'chunked chunked',
      'chun\tked',
    ],
    [
      'identity',
      'gzip',
      'deflate',
      'compress',
      'br',
      'trailers',
      '',
      'none',
      'null',
      '*',
      'cow',
      'x',
      'chunked=',
      '=chunked',
    ],
    [
      'chunked:',
      ':chunked',
      'chunked/1',
      'chunked|gzip',
      'chunked&',
      '\\chunked',
      'ch\\unked',
      '%63hunked',
      'chunked%00',
    ],
  ]
    .flat()
    .flatMap((value) => shapes(`Transfer-Encoding: ${value}\r\n`, REFUSED_CODING)),
  ...[
    ['Transfer-Encoding : chunked\r\n', 'Transfer-Encoding\t: chunked\r\n', ' Transfer-Encoding: chunked\r\n'],
    [
      'Transfer-Encoding chunked\r\n',
      'Transfer-Encoding=chunked\r\n',
      'Transfer-Encoding\r\n',
      'Transfer Encoding: chunked\r\n',
    ],
    [
      'Transfer-Encoding:\r\n chunked\r\n',
      'Transfer-Encoding:\r\n\tchunked\r\n',
      'Transfer-Encoding: chunked\r\n x\r\n',
    ],
    [
      'X: y\r\n Transfer-Encoding: chunked\r\n',
      'X: y\nTransfer-Encoding: chunked\r\n',
      'X: y\rTransfer-Encoding: chunked\r\n',
    ],
    ['Transfer-Encoding: chunked\n', 'Transfer-Encoding: chunked\r', 'Transfer-Encoding: chunked\r\r\n'],
    [
      'Transfer-Encoding:\nchunked\r\n',
      'Transfer-Encoding:\rchunked\r\n',
      'Transfer-Encoding\n: chunked\r\n',
      '\nTransfer-Encoding: chunked\r\n',
    ],
    ['"Transfer-Encoding": chunked\r\n', '\tTransfer-Encoding: chunked\r\n', 'Transfer-Encoding: chunked\n\r\n'],
    ['Transfer\r\n-Encoding: chunked\r\n', '(Transfer-Encoding): chunked\r\n', 'Transfer-Encoding,: chunked\r\n'],
  ]
    .flat()
    .flatMap((line) => shapes(line, REFUSED_CODING)),
  ...['chunked', 'identity', 'gzip', '', 'chunked, identity', 'x'].flatMap((second) =>
    ['Transfer-Encoding', 'transfer-encoding', 'TRANSFER-ENCODING'].flatMap((name) => [
      ...shapes(`Transfer-Encoding: chunked\r\n${name}: ${second}\r\n`, REFUSED_CODING),
      ...shapes(`${name}: ${second}\r\nTransfer-Encoding: chunked\r\n`, REFUSED_CODING),
    ]),
  ),
  ...sweep('before chunked', (byte) => request({ fields: `Transfer-Encoding: ${byte}chunked\r\n`, body: BODY })),
  ...sweep('after chunked', (byte) => request({ fields: `Transfer-Encoding: chunked${byte}\r\n`, body: BODY })),
  ...sweep(
    'within chunked',
    (byte) => request({ fields: `Transfer-Encoding: chu${byte}nked\r\n`, body: BODY }),
    (code) => (isText(code) ? [501] : REFUSED),
  ),
  ...sweep('before the name Transfer-Encoding', (byte) =>
    request({ fields: `Content-Length: 5\r\n${byte}Transfer-Encoding: chunked\r\n`, body: BODY }),
  ),
  ...sweep('after the name Transfer-Encoding', (byte) =>
    request({ fields: `Content-Length: 5\r\nTransfer-Encoding${byte}: chunked\r\n`, body: BODY }),
  ),
  ...sweep('after its colon, beside a length', (byte) =>
    request({ fields: `Transfer-Encoding:${byte}chunked\r\nContent-Length: 5\r\n`, body: BODY }),
  ),
  ...each(
    casings('chunked'),
    (value) => request({ fields: `Transfer-Encoding: ${value}\r\n`, body: BODY }),
    'forwarded',
  ),
  ...each(
    ['chunked', ' chunked', 'chunked ', '  chunked  '],
    (value) => request({ fields: `TRANSFER-encoding:${value}\r\n`, body: BODY }),
    'forwarded',
  ),
  // Valid blanks, but there are readers that stop at them.
  ...['\tchunked', 'chunked\t', ' \t chunked', 'chunked \t '].flatMap((value) =>
    shapes(`Transfer-Encoding:${value}\r\n`, REFUSED),
  ),
  // Other names, however near: the length rules.
  ...each(
    [
      'X-Transfer-Encoding',
      'Transfer_Encoding',
      'Transfer.Encoding',
      'Transfer-Encodin',
      'Transfer--Encoding',
      'TransferEncoding',
      'Transfer-Encoding-',
      '-Transfer-Encoding',
      "Transfer-Encoding'",
      '~Transfer-Encoding',
      'Transfer-Encoding|',
      'Content-Encoding',
      '+Transfer-Encoding',
      'Transfer-Encoding*',
    ],
    (name) => request({ fields: `${name}: chunked\r\nContent-Length: ${BODY.length}\r\n`, body: BODY }),
    'forwarded',
  ),
];

const oldVersion: Case[] = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].flatMap((method) =>
  ['chunked', 'CHUNKED', 'identity', 'gzip, chunked'].flatMap((coding) =>
    ['', 'Connection: keep-alive\r\n', 'Content-Length: 5\r\n'].map((more) => ({
      name: `${method} ${coding} ${more.trim()}`,
      bytes: request({ method, version: 'HTTP/1.0', fields: `Transfer-Encoding: ${coding}\r\n${more}`, body: BODY }),
      outcome: REFUSED,
    })),
  ),
);

const everyMethod: Case[] = BODY_METHODS.flatMap((method): Case[] => [
  {
    name: `${method} with a length`,
    bytes: request({ method, fields: length(SMUGGLED), body: SMUGGLED }),
    outcome: 'forwarded',
  },
  {
    name: `${method} chunked`,
    bytes: request({ method, fields: CHUNKED, body: chunked('GET /smug', 'gled HTTP/1.1\r\n\r\n') }),
    outcome: 'forwarded',
  },
  {
    name: `${method} chunked, empty`,
    bytes: request({ method, fields: CHUNKED, body: chunked() }),
    outcome: 'forwarded',
  },
  { name: `${method} without`, bytes: request({ method }), outcome: 'forwarded' },
]);

export const FRAMING: readonly Table[] = [
  {
    rule: 1,
    source: 'RFC 9112 sections 6.1 and 6.3',
    title: 'refuses Content-Length with Transfer-Encoding',
    cases: both,
  },
  {
    rule: 2,
    source: 'RFC 9112 section 6.3, RFC 9110 section 8.6',
    title: 'takes one Content-Length of plain digits',
    cases: lengths,
  },
  {
    rule: 3,
    source: 'RFC 9112 sections 6.1 and 7',
    title: 'knows no transfer coding but chunked, once',
    cases: codings,
  },
  { rule: 4, source: 'RFC 9112 section 6.1', title: 'refuses Transfer-Encoding in HTTP/1.0', cases: oldVersion },
  { rule: 15, source: 'RFC 9112 section 6', title: 'frames a body upstream whatever the method', cases: everyMethod },
];
