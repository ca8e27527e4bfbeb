/** Requests of HTTP/2: their fields, bodies and trailers. */
import type { Fields } from '../support/frames.ts';
import { HOST, METHOD, one, post, request, SMUGGLED, withField } from './http2_cases.ts';
import type { Http2Case } from './http2_cases.ts';

const NAMES: readonly Http2Case[] = [
  ...['X-Upper', 'aCcept', 'CONTENT-LENGTH', 'Transfer-Encoding'].map((name) =>
    one(`RFC 9113 8.2.1: the name ${name} in upper case`, 400, withField(name, '5')),
  ),
  ...[
    'x\r\ny',
    'x: y\r\nz',
    'x y',
    ' x',
    'x ',
    'x\0',
    'x\x80',
    'x(',
    'x:y',
    '',
    'content-length ',
    'transfer-encoding:',
  ].map((name) => one(`RFC 9113 8.2.1: the name ${JSON.stringify(name)}`, 400, withField(name, 'chunked'))),
  ...['\r\nContent-Length: 5', '\nx', '\r', '\0', '\x01', '\x7f', '\x1b'].map((part) =>
    one(`RFC 9113 8.2.1: ${JSON.stringify(part)} in a value`, 400, withField('x-a', `a${part}b`)),
  ),
  ...[' a', 'a ', '\ta', 'a\t'].map((value) =>
    one(`RFC 9113 8.2.1: the value ${JSON.stringify(value)}`, 400, withField('x-a', value)),
  ),
  one('RFC 9110 5.5: bytes beyond ASCII in a value', 'forwarded', withField('x-a', '\xe9\xff')),
  ...['x_y', 'x.y', 'content_length', 'transfer_encoding', 'x_forwarded_for'].map((name) =>
    one(`RFC 3875 4.1.18: the name ${name}`, 'forwarded', withField(name, '5')),
  ),
];

const CONNECTION: readonly Http2Case[] = [
  ...[
    ['connection', 'close'],
    ['connection', 'x-a'],
    ['keep-alive', 'timeout=5'],
    ['proxy-connection', 'keep-alive'],
    ['upgrade', 'h2c'],
    ['upgrade', 'websocket'],
    ['transfer-encoding', 'chunked'],
    ['transfer-encoding', 'identity'],
    ['te', 'gzip'],
    ['te', 'trailers, chunked'],
    ['te', ''],
  ].map(([name = '', value = '']) => one(`RFC 9113 8.2.2: ${name}: ${value}`, 400, withField(name, value))),
  one('RFC 9113 8.2.2: transfer-encoding with a body', 400, post([['transfer-encoding', 'chunked']]), {
    body: SMUGGLED,
  }),
  one('RFC 9113 8.2.2: te: trailers', 'forwarded', withField('te', 'trailers')),
  one('RFC 9113 3.1: http2-settings', 'forwarded', withField('http2-settings', 'AAMAAABk')),
];

const LENGTHS: readonly Http2Case[] = [
  one('RFC 9113 8.1.1: a content-length larger than the DATA', 400, post([['content-length', '10']]), {
    body: 'hello',
  }),
  one('RFC 9113 8.1.1: a content-length smaller than the DATA', 400, post([['content-length', '2']]), {
    body: SMUGGLED,
  }),
  one('RFC 9113 8.1.1: a content-length of 0 before DATA', 400, post([['content-length', '0']]), {
    body: SMUGGLED,
  }),
  one('RFC 9113 8.1.1: a content-length and more DATA in a frame of its own', 400, post([['content-length', '5']]), {
    body: ['hello', SMUGGLED],
  }),
  one('RFC 9113 8.1.1: a content-length without DATA', 400, post([['content-length', '5']])),
  one('RFC 9113 8.1.1: a content-length with an empty DATA frame', 400, post([['content-length', '5']]), {
    body: '',
  }),
  one('RFC 9113 8.1.1: a content-length of GET without DATA', 400, withField('content-length', '5')),
  ...['+5', '-5', '5 ', '5,5', '5, 5', '0x5', '', '5;', '5.0', '5e0', '99999999999999999999999'].map((value) =>
    one(`RFC 9110 8.6: the content-length ${JSON.stringify(value)}`, 400, post([['content-length', value]]), {
      body: 'hello',
    }),
  ),
  one(
    'RFC 9112 6.3: two equal lengths',
    400,
    post([
      ['content-length', '5'],
      ['content-length', '5'],
    ]),
    { body: 'hello' },
  ),
  one(
    'RFC 9112 6.3: two different lengths',
    400,
    post([
      ['content-length', '5'],
      ['content-length', '6'],
    ]),
    { body: 'hello' },
  ),
  one('RFC 9110 8.6: a length with leading zeros', 'forwarded', post([['content-length', '005']]), { body: 'hello' }),
  one('RFC 9112 6.2: a length as it is', 'forwarded', post([['content-length', '5']]), { body: 'hello' }),
  one('RFC 9112 6.2: a length of 0', 'forwarded', post([['content-length', '0']])),
  ...['GET', 'HEAD', 'DELETE', 'OPTIONS'].flatMap((method) => [
    one(`RFC 9112 6: a body of ${method} in DATA`, 'forwarded', request({ [METHOD]: method }), { body: SMUGGLED }),
    one(
      `RFC 9112 6: a body of ${method} with its length`,
      'forwarded',
      request({ [METHOD]: method }, [['content-length', String(SMUGGLED.length)]]),
      { body: SMUGGLED },
    ),
  ]),
  one('RFC 9112 6: a body of POST in chunks that are none', 'forwarded', post([]), { body: `0\r\n\r\n${SMUGGLED}` }),
  one('RFC 9112 6: an empty DATA frame', 'forwarded', post([]), { body: '' }),
];

const TRAILERS: readonly Http2Case[] = [
  ...[
    ['transfer-encoding', 'chunked'],
    ['connection', 'close'],
    [':path', '/smuggled'],
    [':status', '200'],
    ['X-Upper', 'x'],
    ['te', 'gzip'],
  ].map(([name = '', value = '']) =>
    one(`RFC 9113 8.1: ${name}: ${value} behind the DATA`, 400, post([]), {
      body: 'hello',
      trailers: [[name, value]],
    }),
  ),
  ...[
    ['content-length', '5'],
    ['host', HOST],
    ['te', 'trailers'],
  ].map(([name = '', value = '']) =>
    one(`RFC 9110 6.5.1: ${name} behind the DATA`, 400, post([]), { body: 'hello', trailers: [[name, value]] }),
  ),
  ...['authorization', 'cookie', 'x-forwarded-for', 'content-type', 'expect', 'x_a'].map((name) =>
    one(`RFC 9110 6.5.1: ${name} behind the DATA is left out`, 'forwarded', post([]), {
      body: 'hello',
      trailers: [[name, 'forged-by-client']],
    }),
  ),
  one('RFC 9113 8.2.1: CR LF behind the DATA', 400, post([]), {
    body: 'hello',
    trailers: [['x-a', `b\r\n\r\n${SMUGGLED}`]],
  }),
];

function repeated(count: number, field: (i: number) => readonly [string, string]): Fields {
  return Array.from({ length: count }, (_, i) => field(i));
}

const AMOUNTS: readonly Http2Case[] = [
  one(
    'RFC 9113 10.5.1: 100 fields and one more',
    431,
    request(
      {},
      repeated(100, (i) => [`x-${i}`, 'y']),
    ),
  ),
  one(
    'RFC 9113 10.5.1: 90 fields',
    'forwarded',
    request(
      {},
      repeated(90, (i) => [`x-${i}`, 'y']),
    ),
  ),
  one(
    'RFC 9113 10.5.1: 1,000 fields',
    431,
    request(
      {},
      repeated(1000, (i) => [`x-${i}`, 'y']),
    ),
  ),
  one('RFC 9113 10.5.1: a field of 9,000 bytes', 431, withField('x-a', 'y'.repeat(9000))),
  one(
    'RFC 9113 10.5.1: fields of 20,000 bytes',
    431,
    request(
      {},
      repeated(20, (i) => [`x-${i}`, 'y'.repeat(1000)]),
    ),
  ),
  one(
    'RFC 9113 8.2.3: cookies of 20,000 bytes in crumbs',
    431,
    request(
      {},
      repeated(100, (i) => ['cookie', `c${i}=${'y'.repeat(200)}`]),
    ),
  ),
  one(
    'RFC 9113 8.2.3: 200 cookies in crumbs',
    'forwarded',
    request(
      {},
      repeated(200, (i) => ['cookie', `c${i}=y`]),
    ),
  ),
  one(
    'RFC 9113 8.2.3: two cookies among other fields',
    'forwarded',
    request({}, [
      ['cookie', 'a=1'],
      ['x-a', 'b'],
      ['cookie', 'b=2'],
    ]),
  ),
];

const MEANINGS: readonly Http2Case[] = [
  one('RFC 9110 10.1.1: expect: 100-continue', 'forwarded', post([['expect', '100-continue']]), { body: 'hello' }),
  ...['y 100-continue', '100-continue, x', '200-ok', ''].map((value) =>
    one(`RFC 9110 10.1.1: expect: ${value}`, 417, post([['expect', value]]), { body: 'hello' }),
  ),
  ...[
    'x-forwarded-for',
    'x-forwarded-proto',
    'x-forwarded-host',
    'forwarded',
    'x-real-ip',
    'via',
    'x-request-id',
    'proxy',
  ].map((name) => one(`RFC 9110 7.6: ${name} of a client`, 'forwarded', withField(name, 'forged-by-client'))),
  one(
    'RFC 9110 5.3: a field twice',
    'forwarded',
    request({}, [
      ['x-a', '1'],
      ['x-a', '2'],
    ]),
  ),
  one(
    'RFC 9110 11.6.2: authorization twice',
    'forwarded',
    request({}, [
      ['authorization', 'a'],
      ['authorization', 'b'],
    ]),
  ),
];

export const HTTP2_FIELDS: readonly Http2Case[] = [
  ...NAMES,
  ...CONNECTION,
  ...LENGTHS,
  ...TRAILERS,
  ...AMOUNTS,
  ...MEANINGS,
];
