/** Requests of HTTP/2: what they ask for, and of whom. */
import { AUTHORITY, HOST, METHOD, one, PATH, request, SCHEME, SMUGGLED, withField } from './http2_cases.ts';
import type { Http2Case } from './http2_cases.ts';

const PSEUDO: readonly Http2Case[] = [
  ...[METHOD, SCHEME, PATH].map((name) => one(`RFC 9113 8.3.1: no ${name}`, 400, request({ [name]: null }))),
  one('RFC 9113 8.3.1: neither :authority nor host', 400, request({ [AUTHORITY]: null })),
  one('RFC 9113 8.3.1: a host without :authority', 'forwarded', request({ [AUTHORITY]: null }, [['host', HOST]])),
  one('RFC 9113 8.3: nothing but fields', 400, [['accept', '*/*']]),
  ...[METHOD, SCHEME, AUTHORITY, PATH].map((name) =>
    one(`RFC 9113 8.3: ${name} twice`, 400, [...request(), [name, name === PATH ? '/other' : 'x']]),
  ),
  ...[METHOD, PATH, AUTHORITY].map((name) =>
    one(`RFC 9113 8.3: ${name} behind a field`, 400, [
      ...request({ [name]: null }, [['accept', '*/*']]),
      ...request().filter(([key]) => key === name),
    ]),
  ),
  ...[':unknown', ':', ':host', ':Path', ':method '].map((name) =>
    one(`RFC 9113 8.3: the unknown pseudo-header field ${JSON.stringify(name)}`, 400, [[name, 'x'], ...request()]),
  ),
  one('RFC 9113 8.3.2: :status in a request', 400, [[':status', '200'], ...request()]),
  one('RFC 9113 8.3.2: :status in place of :method', 400, [[':status', '200'], ...request({ [METHOD]: null })]),
  ...[METHOD, SCHEME, PATH, AUTHORITY].map((name) =>
    one(`RFC 9113 8.3.1: an empty ${name}`, 400, request({ [name]: '' })),
  ),
];

const METHODS: readonly Http2Case[] = [
  ...['get', 'Get', 'post'].map((method) =>
    one(`RFC 9110 9.1: the method ${method}`, 400, request({ [METHOD]: method })),
  ),
  ...['FROB', 'PRI', 'SPAM'].map((method) =>
    one(`RFC 9110 9.1: the method ${method}`, 501, request({ [METHOD]: method })),
  ),
  ...['GET /smuggled HTTP/1.1\r\nX:', 'GET ', ' GET', 'GET\t', 'G\0ET', 'GET\r\n', 'GÉT', 'GET/', '"GET"'].map(
    (method) => one(`RFC 9110 9.1: the method ${JSON.stringify(method)}`, 400, request({ [METHOD]: method })),
  ),
  one('RFC 9110 9.3.6: CONNECT', 405, [
    [METHOD, 'CONNECT'],
    [AUTHORITY, 'localhost:443'],
  ]),
  one('RFC 9113 8.5: CONNECT with :scheme and :path', 405, request({ [METHOD]: 'CONNECT' })),
  one('RFC 8441 4: extended CONNECT that was not offered', 405, [
    [METHOD, 'CONNECT'],
    [':protocol', 'websocket'],
    [SCHEME, 'https'],
    [AUTHORITY, HOST],
    [PATH, '/'],
  ]),
  one('RFC 8441 4: :protocol with GET', 400, [[':protocol', 'websocket'], ...request()]),
  one('RFC 9110 9.3.8: TRACE', 405, request({ [METHOD]: 'TRACE' })),
  one('RFC 9110 9.3.8: TRACE with a body', 405, request({ [METHOD]: 'TRACE' }), { body: SMUGGLED }),
  one('RFC 9110 9.3.7: OPTIONS *', 'forwarded', request({ [METHOD]: 'OPTIONS', [PATH]: '*' })),
];

const TARGETS: readonly Http2Case[] = [
  ...['/a#b', '/#', '/?q#f', '/\xe9', '/\xc3\xa9', '/?\xff', '/a\\b', '/<x>', '/"', '/%zz', '/%', '/%00'].map((path) =>
    one(`RFC 9112 3.2: the path ${JSON.stringify(path)}`, 400, request({ [PATH]: path })),
  ),
  ...['/a b', '/a HTTP/1.1\r\nX: y', '/\t', '/\r', '/\n', '/\0', ' /', '/ ', '/\x7f'].map((path) =>
    one(`RFC 9113 8.3.1: the path ${JSON.stringify(path)}`, 400, request({ [PATH]: path })),
  ),
  ...['https://localhost/', 'http://other.example/', '//\r', 'x', '*', '?q', '..', 'localhost:443'].map((path) =>
    one(`RFC 9113 8.3.1: the path ${JSON.stringify(path)}, not in origin-form`, 400, request({ [PATH]: path })),
  ),
  one('RFC 9112 3.2.4: *?q with OPTIONS', 400, request({ [METHOD]: 'OPTIONS', [PATH]: '*?q' })),
  one('RFC 9110 4.1: a path of 9,000 bytes', 414, request({ [PATH]: `/${'a'.repeat(9000)}` })),
  ...['//other.example/', '/@localhost', '/a;b=c?d=%0d%0aX:%20y', '/?a=%'].map((path) =>
    one(`RFC 9112 3.2.1: the path ${JSON.stringify(path)}`, 'forwarded', request({ [PATH]: path })),
  ),
  ...['/a/../b', '/%2e%2e/b', '/./', '/a/..'].map((path) =>
    one(`RFC 3986 6.2.2.3: the path ${JSON.stringify(path)}`, 'forwarded', request({ [PATH]: path })),
  ),
];

const AUTHORITIES: readonly Http2Case[] = [
  ...[
    'localhost:99999',
    'localhost:x',
    'localhost:-1',
    'localhost:443:443',
    '[::1',
    '::1',
    'a,b',
    'localhost%20',
    '.',
  ].map((authority) =>
    one(`RFC 9110 4.2.2: the authority ${JSON.stringify(authority)}`, 400, request({ [AUTHORITY]: authority })),
  ),
  ...[
    'user@localhost',
    'a:b@localhost',
    'localhost/x',
    'local host',
    'localhost\r\nX: y',
    'localhost\t',
    'localhost#',
    'loc\xe4l',
    'a\\b',
  ].map((authority) =>
    one(`RFC 9113 8.3.1: the authority ${JSON.stringify(authority)}`, 400, request({ [AUTHORITY]: authority })),
  ),
  one('RFC 9113 8.3.1: a host other than :authority', 400, withField('host', 'other.example')),
  one('RFC 9113 8.3.1: a host with another port than :authority', 400, withField('host', 'localhost:1')),
  one('RFC 9113 8.3.1: a host as :authority in other letters', 'forwarded', withField('host', 'LOCALHOST')),
  one(
    'RFC 9112 3.2: two hosts',
    400,
    request({}, [
      ['host', HOST],
      ['host', HOST],
    ]),
  ),
  one('RFC 9112 3.2: an empty host', 400, withField('host', '')),
  one('RFC 9112 3.2: a host with userinfo', 400, withField('host', 'a@localhost')),
  one(
    "RFC 9110 15.5.20: a host that the connection's certificate is not for",
    421,
    request({ [AUTHORITY]: 'second.localhost' }),
  ),
  one('RFC 9110 15.5.5: a host that no site has', 404, request({ [AUTHORITY]: 'stranger.example' })),
];

const SCHEMES: readonly Http2Case[] = [
  ...['http', 'HTTPS', 'ftp', 'wss', 'h'].map((scheme) =>
    one(`RFC 9113 8.3.1: the scheme ${scheme} in TLS`, 400, request({ [SCHEME]: scheme })),
  ),
  ...['https://localhost/x?', 'https\r\nX: y', 'htt ps', ' https', 'https\0', '1https'].map((scheme) =>
    one(`RFC 9113 8.3.1: the scheme ${JSON.stringify(scheme)}`, 400, request({ [SCHEME]: scheme })),
  ),
];

export const HTTP2_STARTS: readonly Http2Case[] = [...PSEUDO, ...METHODS, ...TARGETS, ...AUTHORITIES, ...SCHEMES];
