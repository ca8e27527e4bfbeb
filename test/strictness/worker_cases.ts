/** What broken and hostile workers send, and what their client must get (RFC 9112 sections 4 to 7, RFC 9110 section 15). */
import type net from 'node:net';
import { sleep } from '../../src/lifecycle.ts';

/** In everything that must reach no client. */
export const POISON = 'POISON';
const POISONED = `HTTP/1.1 200 ${POISON}\r\nContent-Length: 6\r\nX-Poison: ${POISON}\r\n\r\n${POISON}`;

/**
 * A status with its body; `refused`: 502, as nothing was sent yet; `late`: 504; `cut`: an answer that begins and ends
 * without being complete, or 502.
 */
export type Wanted = { readonly status: number; readonly body: string } | 'refused' | 'late' | 'cut';

export interface WorkerCase {
  readonly name: string;
  readonly method: string;
  readonly wanted: Wanted;
  act(socket: net.Socket): void | Promise<void>;
}

const OK = 'HTTP/1.1 200 OK\r\n';
const HELLO: Wanted = { status: 200, body: 'hello' };
const EMPTY: Wanted = { status: 200, body: '' };

/** Sends the bytes; the connection stays open. */
function says(bytes: string): WorkerCase['act'] {
  return (socket) => void socket.write(bytes, 'latin1');
}

function saysAndCloses(bytes: string): WorkerCase['act'] {
  return (socket) => void socket.end(bytes, 'latin1');
}

function saysAndResets(bytes: string): WorkerCase['act'] {
  return (socket) => void socket.write(bytes, 'latin1', () => setTimeout(() => socket.resetAndDestroy(), 20));
}

function one(name: string, wanted: Wanted, act: WorkerCase['act'] | string, method = 'GET'): WorkerCase {
  return { name, method, wanted, act: typeof act === 'string' ? says(act) : act };
}

function refused(name: string, heads: readonly (string | readonly string[])[]): WorkerCase[] {
  return heads.flat().map((head) => one(`${name}: ${JSON.stringify(head)}`, 'refused', `${head}\r\nhello${POISON}`));
}

const framed = (lines: readonly string[]): string[] => lines.map((line) => `${OK}${line}`);

const FRAMING: readonly WorkerCase[] = [
  ...refused(
    'both framings',
    framed([
      'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
      'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n',
      'Transfer-Encoding: identity\r\nContent-Length: 5\r\n',
    ]),
  ),
  ...refused(
    'several lengths',
    framed(['Content-Length: 5\r\nContent-Length: 6\r\n', 'Content-Length: 5\r\ncontent-length: 5\r\n']),
  ),
  ...refused(
    'no length',
    framed(
      ['5, 5', '+5', '-5', '0x5', '', '5 5', '5.0', 'five', '99999999999999999999'].map(
        (value) => `Content-Length: ${value}\r\n`,
      ),
    ),
  ),
  ...refused(
    'another coding',
    framed(
      [
        'gzip, chunked',
        'identity',
        'chunked, chunked',
        'xchunked',
        '',
        '"chunked"',
        'chunked;x',
        'gzip',
        ',chunked',
      ].map((value) => `Transfer-Encoding: ${value}\r\n`),
    ),
  ),
  ...refused('two codings', framed(['Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'])),
  ...refused('chunked in HTTP/1.0', ['HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n']),
  one('a body that is too short', 'cut', saysAndCloses(`${OK}Content-Length: 10\r\n\r\nhello`)),
  one('a body that is too short, and a reset', 'cut', saysAndResets(`${OK}Content-Length: 10\r\n\r\nhello`)),
  one('a body that is too long', HELLO, `${OK}Content-Length: 5\r\n\r\nhello${POISON}`),
  one('a body that is too long, then the end', HELLO, saysAndCloses(`${OK}Content-Length: 5\r\n\r\nhello${POISON}`)),
  one('a body until the end', HELLO, saysAndCloses(`${OK}\r\nhello`)),
  one('a body until the end of HTTP/1.0', HELLO, saysAndCloses('HTTP/1.0 200 OK\r\n\r\nhello')),
  one(
    'chunks',
    HELLO,
    `${OK}Transfer-Encoding: chunked\r\n\r\n2;x=${POISON}\r\nhe\r\n3\r\nllo\r\n0\r\nX: ${POISON}\r\n\r\n`,
  ),
  ...[
    ['zz\r\nhello\r\n', 'no size'],
    ['0x5\r\nhello\r\n0\r\n\r\n', 'a size with 0x'],
    ['+5\r\nhello\r\n0\r\n\r\n', 'a signed size'],
    ['-5\r\nhello\r\n0\r\n\r\n', 'a negative size'],
    [' 5\r\nhello\r\n0\r\n\r\n', 'a size after a space'],
    ['5 \r\nhello\r\n0\r\n\r\n', 'a size before a space'],
    ['ffffffffffffffffff\r\nhello\r\n', 'a size beyond all numbers'],
    ['5\nhello\n0\n\n', 'bare LFs'],
    ['5\r\nhelloXX0\r\n\r\n', 'no line end after the data'],
    ['4\r\nhello\r\n0\r\n\r\n', 'more data than said'],
    ['5;a="\r\nhello\r\n0\r\n\r\n', 'an open quote'],
    [`5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`, 'a giant extension'],
    ['5\r\nhello\r\n0\r\nX : y\r\n\r\n', 'a bad trailer'],
    [`5\r\nhello\r\n0\r\n${'X: y\r\n'.repeat(3000)}\r\n`, 'endless trailers'],
  ].map(([chunks = '', what = '']) =>
    one(`chunks with ${what}`, 'cut', `${OK}Transfer-Encoding: chunked\r\n\r\n${chunks}`),
  ),
  ...['5\r\nhel', '5\r\nhello\r\n', '5\r\nhello\r\n0\r\n', '5'].flatMap((chunks) => [
    one(
      `chunks cut after ${JSON.stringify(chunks)}`,
      'cut',
      saysAndCloses(`${OK}Transfer-Encoding: chunked\r\n\r\n${chunks}`),
    ),
    one(
      `chunks reset after ${JSON.stringify(chunks)}`,
      'cut',
      saysAndResets(`${OK}Transfer-Encoding: chunked\r\n\r\n${chunks}`),
    ),
  ]),
];

const HEADS: readonly WorkerCase[] = [
  ...refused('a bad status line', [
    [
      'HTTP/1.1 2000 OK\r\n',
      'HTTP/1.1 20 OK\r\n',
      'HTTP/1.1 abc OK\r\n',
      'HTTP/1.1  200 OK\r\n',
      'HTTP/1.1\r\n',
      'http/1.1 200 OK\r\n',
    ],
    [
      'HTTP/1.1 099 No\r\n',
      'HTTP/1.1 600 No\r\n',
      'HTTP/1.1 000 No\r\n',
      'HTTP/1.1 -20 No\r\n',
      'HTTP/1.2 200 OK\r\n',
      'HTTP/2.0 200 OK\r\n',
    ],
    [
      'HTTP/2 200\r\n',
      'HTTP/0.9 200 OK\r\n',
      'ICY 200 OK\r\n',
      'HTTP/1.1 200OK\r\n',
      'HTTP/1.1 200\tOK\r\n',
      ' HTTP/1.1 200 OK\r\n',
    ],
    [
      'HTTP/1.1 200 O\0K\r\n',
      'HTTP/1.1 200 O\rK\r\n',
      'HTTP/1.1 200 \x7f\r\n',
      '\r\nHTTP/1.1 200 OK\r\n',
      'GET / HTTP/1.1\r\nHost: a\r\n',
    ],
  ]),
  ...refused('bad lines', [
    'HTTP/1.1 200 OK\nContent-Length: 5\n\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n',
    'HTTP/1.1 200 OK\rContent-Length: 5\r\n',
    ...framed([
      'X: a\0b\r\n',
      'X: a\rb\r\n',
      'X: a\x01\r\n',
      'X: a\r\n b\r\n',
      'X : a\r\n',
      ' X: a\r\n',
      'X\r\n',
      ': a\r\n',
      'X Y: a\r\n',
      'X\xe4: a\r\n',
      'X\0: a\r\n',
      'Connection: a b\r\n',
    ]),
  ]),
  one('a giant head', 'refused', `${OK}X: ${'y'.repeat(100_000)}\r\n\r\n`),
  one('a head that never ends', 'refused', `${OK}${'X: y\r\n'.repeat(20_000)}`),
  one('too many fields', 'refused', `${OK}${'X: y\r\n'.repeat(200)}\r\n`),
  one('half a head', 'refused', saysAndCloses(`${OK}Content-Le`)),
  one('half a head, and a reset', 'refused', saysAndResets(`${OK}Content-Le`)),
  one('half a head, and silence', 'late', `${OK}Content-Le`),
  one('nothing, and the end', 'refused', saysAndCloses('')),
  one('nothing, and a reset', 'refused', (socket) => void socket.resetAndDestroy()),
  one('nothing, ever', 'late', () => {}),
  one('garbage', 'refused', '\x00\x01\x02\xff\xfe\r\n\r\n'),
  one('a page without a head', 'refused', saysAndCloses(`<html>${POISON}</html>\r\n\r\n`)),
  one('a TLS alert', 'refused', saysAndCloses('\x15\x03\x01\x00\x02\x02\x46')),
  one(
    'HTTP/2 frames',
    'refused',
    saysAndCloses('\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x01\0\0\0\x05\0\0\x40\0'),
  ),
  one('a head byte by byte', HELLO, async (socket) => {
    for (const byte of `${OK}Content-Length: 5\r\n\r\nhello`) {
      socket.write(byte);
      await sleep(2);
    }
  }),
  one(
    'attempts to split the answer',
    HELLO,
    `${OK}Location: /%0d%0aX-Poison:%20x\r\nX: a\\r\\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello`,
  ),
  one(
    'what concerns its own connection',
    HELLO,
    `${OK}Connection: X-Secret, keep-alive\r\nX-Secret: ${POISON}\r\nKeep-Alive: ${POISON}\r\nProxy-Connection: ${POISON}\r\nUpgrade: ${POISON}\r\nTE: ${POISON}\r\nTrailer: ${POISON}\r\nContent-Length: 5\r\n\r\nhello`,
  ),
];

const BODILESS: readonly WorkerCase[] = [
  ...['', 'Content-Length: 6\r\n', 'Transfer-Encoding: chunked\r\n'].flatMap((fields) => [
    one(
      `204 with a body ${fields.trim()}`,
      { status: 204, body: '' },
      `HTTP/1.1 204 No Content\r\n${fields}\r\n${POISON}`,
    ),
    one(
      `304 with a body ${fields.trim()}`,
      { status: 304, body: '' },
      `HTTP/1.1 304 Not Modified\r\n${fields}\r\n${POISON}`,
    ),
    one(`HEAD with a body ${fields.trim()}`, EMPTY, `${OK}${fields}\r\n${POISON}`, 'HEAD'),
  ]),
  one('HEAD with chunks', EMPTY, `${OK}Transfer-Encoding: chunked\r\n\r\n6\r\n${POISON}\r\n0\r\n\r\n`, 'HEAD'),
  one('204 with a whole answer for a body', { status: 204, body: '' }, `HTTP/1.1 204 No Content\r\n\r\n${POISONED}`),
  one('304 with a whole answer for a body', { status: 304, body: '' }, `HTTP/1.1 304 Not Modified\r\n\r\n${POISONED}`),
  one('HEAD with a whole answer for a body', EMPTY, `${OK}Content-Length: 5\r\n\r\n${POISONED}`, 'HEAD'),
];

const INTERIM: readonly WorkerCase[] = [
  one(
    '101 unasked',
    'refused',
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${POISON}`,
  ),
  one(
    '101 to h2c',
    'refused',
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n${POISON}`,
  ),
  one('101 after 100', 'refused', `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n${POISON}`),
  one(
    '100, 102 and 103 first',
    HELLO,
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <${POISON}>\r\n\r\n${OK}Content-Length: 5\r\n\r\nhello`,
  ),
  one(
    'a flood of 103',
    HELLO,
    `${`HTTP/1.1 103 Early Hints\r\nLink: <${POISON}>\r\n\r\n`.repeat(5_000)}${OK}Content-Length: 5\r\n\r\nhello`,
  ),
  one('a flood of 100 without an answer', 'late', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(5_000)),
  one(
    '100 with a length',
    HELLO,
    `HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n${OK}Content-Length: 5\r\n\r\nhello`,
  ),
  one('100 and the end', 'refused', saysAndCloses('HTTP/1.1 100 Continue\r\n\r\n')),
];

const EXCESS: readonly WorkerCase[] = [
  one('two answers at once', HELLO, `${OK}Content-Length: 5\r\n\r\nhello${POISONED}`),
  one('twenty answers at once', HELLO, `${OK}Content-Length: 5\r\n\r\nhello${POISONED.repeat(20)}`),
  one(
    'two chunked answers at once',
    HELLO,
    `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n${POISONED}`,
  ),
  one('an empty answer and another', EMPTY, `${OK}Content-Length: 0\r\n\r\n${POISONED}`),
  one('an answer and half another', HELLO, `${OK}Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 ${POISON}`),
  one('an answer and a 100', HELLO, `${OK}Content-Length: 5\r\n\r\nhelloHTTP/1.1 100 Continue\r\n\r\n`),
  one('a body after Connection: close', HELLO, `${OK}Connection: close\r\nContent-Length: 5\r\n\r\nhello${POISONED}`),
  one('bytes after an answer to HTTP/1.0', HELLO, `HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello${POISON}`),
  one('an empty line after an answer', HELLO, `${OK}Content-Length: 5\r\n\r\nhello\r\n`),
];

export const WORKER_CASES: readonly WorkerCase[] = [...FRAMING, ...HEADS, ...BODILESS, ...INTERIM, ...EXCESS];
