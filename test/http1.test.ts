/** The data path as clients and workers see it: HTTP/1.1 in all its corners, and whatever else they send. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { readExecutions } from './support/load.ts';
import { residentBytes, run } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';

const CONFIG = `sites:
  - hosts: [localhost, 127.0.0.1]
    max_body_size: 1MiB
    routes:
      - { path: /, service: web }
      - { path: /unlimited/, service: web, strip_prefix: true }
      - { path: /away/, redirect: { to: "https://example.com/", status: 302 } }
  - hosts: [big.localhost]
    service: web
${RECORDING_SERVICE}    timeouts: { response: 1s }
`;

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({ config: CONFIG });
});
after(() => daemon[Symbol.asyncDispose]());

const HEAD = 'Host: localhost\r\n';

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly raw: readonly string[];
  readonly length: number;
  readonly body: string;
}

async function echo(...args: readonly string[]): Promise<Echo> {
  const { stdout, stderr } = await run('curl', ['-sSk', '--http1.1', '--max-time', '10', ...args]);
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout) as Echo;
}

/** Sends raw bytes, and what came back when the connection was closed. */
async function exchange(bytes: string): Promise<string> {
  using client = await connectRaw(daemon);
  client.send(bytes);
  return await client.closed();
}

test('tells the worker who asked and how, whatever a stranger claims', async () => {
  const { headers, url } = await echo(
    '-H',
    'X-Forwarded-For: 6.6.6.6',
    '-H',
    'X-Forwarded-Proto: gopher',
    '-H',
    'X-Forwarded-Host: evil',
    '-H',
    'X-Real-IP: 6',
    '-H',
    'Forwarded: for=6',
    '-H',
    'X-Request-Id: mine',
    '-H',
    'Connection: X-Secret',
    '-H',
    'X-Secret: 1',
    '-H',
    'X_Under: 1',
    `${daemon.origin}/echo?a=b`,
  );
  assert.equal(url, '/echo?a=b');
  assert.equal(headers['host'], `localhost:${daemon.ports.https}`);
  assert.equal(headers['x-forwarded-for'], '127.0.0.1');
  assert.equal(headers['x-forwarded-proto'], 'https');
  assert.equal(headers['x-forwarded-host'], `localhost:${daemon.ports.https}`);
  assert.match(headers['x-request-id'] ?? '', /^[0-9a-f]{20}$/);
  for (const name of ['x-real-ip', 'forwarded', 'x-secret', 'x_under']) assert.equal(headers[name], undefined, name);
});

test('routes by host and longest path prefix, and forwards the path it routed on', async () => {
  assert.equal((await echo(`${daemon.origin}/unlimited/echo?x=1`)).url, '/echo?x=1');
  assert.equal((await echo('--path-as-is', `${daemon.origin}/a/../%2e/echo`)).url, '/echo');
  const { stdout } = await run('curl', ['-sSki', '--http1.1', `${daemon.origin}/away/x`]);
  assert.match(stdout, /^HTTP\/1\.1 302 [\s\S]*location: https:\/\/example\.com\/\r/i);
  const unknown = await exchange(`GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n`);
  assert.match(unknown, /^HTTP\/1\.1 404 /);
});

test('carries bodies both ways, with a length and chunked', async () => {
  const body = 'x'.repeat(300_000);
  const { length, headers } = await echo(
    '-X',
    'POST',
    '--data-binary',
    body.slice(0, 100_000),
    `${daemon.origin}/echo`,
  );
  assert.deepEqual([length, headers['content-length'], headers['transfer-encoding']], [100_000, '100000', undefined]);
  const chunked = await echo(
    '-X',
    'PUT',
    '-H',
    'Transfer-Encoding: chunked',
    '--data-binary',
    body.slice(0, 100_000),
    `${daemon.origin}/echo`,
  );
  assert.deepEqual(
    [chunked.length, chunked.headers['content-length'], chunked.headers['transfer-encoding']],
    [100_000, undefined, 'chunked'],
  );
  for (const query of ['size=300000', 'size=300000&chunked']) {
    const { stdout } = await run('curl', ['-sSk', '--http1.1', `${daemon.origin}/bytes?${query}`]);
    assert.equal(stdout.length, 300_000);
  }
});

test('frames a body upstream whatever the method', async () => {
  for (const method of ['GET', 'DELETE', 'OPTIONS']) {
    const { method: got, length } = await echo(
      '-X',
      method,
      '-H',
      'Transfer-Encoding: chunked',
      '-d',
      'GET /smuggled HTTP/1.1',
      `${daemon.origin}/echo`,
    );
    assert.deepEqual([got, length], [method, 22]);
  }
});

test('answers HEAD, 204 and 304 without a body, and the connection goes on', async () => {
  using client = await connectRaw(daemon);
  client.send(`HEAD /bytes?size=5 HTTP/1.1\r\n${HEAD}\r\n`);
  await client.until(/content-length: 5\r\n(?:.*\r\n)*\r\n/i);
  client.send(`GET /status?code=204 HTTP/1.1\r\n${HEAD}\r\n`);
  await client.until(/HTTP\/1\.1 204 No Content\r\n(?:.*\r\n)*\r\n/);
  client.send(`GET /status?code=304 HTTP/1.1\r\n${HEAD}\r\n`);
  await client.until(/HTTP\/1\.1 304 Not Modified\r\n(?:.*\r\n)*\r\n/);
  client.send(`GET /status?code=200 HTTP/1.1\r\n${HEAD}\r\n`);
  assert.match(
    await client.until(/\r\n\r\nbody$/),
    /^HTTP\/1\.1 200 OK[\s\S]*HTTP\/1\.1 204 [\s\S]*HTTP\/1\.1 304 [\s\S]*HTTP\/1\.1 200 /,
  );
});

test('answers pipelined requests in order, one at a time', async () => {
  using client = await connectRaw(daemon);
  const ids = Array.from({ length: 20 }, (_, i) => `p${i}`);
  client.send(ids.map((id) => `GET /x HTTP/1.1\r\n${HEAD}X-Id: ${id}\r\n\r\n`).join(''));
  const text = await client.until(/p19\n/);
  assert.deepEqual(
    [...text.matchAll(/\d+ (p\d+)\n/g)].map(([, id]) => id),
    ids,
  );
});

test('reads heads that come byte by byte and bodies cut anywhere', async () => {
  using client = await connectRaw(daemon);
  const bytes = `POST /echo HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n`;
  for (const byte of bytes) {
    client.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.match(await client.until(/"body":"[^"]*"/), /"body":"hello world"/);
});

test('says 100 Continue to who waits for it, and the worker never sees the expectation', async () => {
  using client = await connectRaw(daemon);
  client.send(`POST /echo HTTP/1.1\r\n${HEAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
  await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/);
  client.send('hello');
  const text = await client.until(/"body":"hello"/);
  assert.doesNotMatch(text, /"expect"/);
});

test('passes on an answer that comes before the body is complete, then closes', async () => {
  using client = await connectRaw(daemon);
  client.send(`POST /early HTTP/1.1\r\n${HEAD}Content-Length: 100000\r\n\r\npart`);
  const text = await client.closed();
  assert.match(text, /^HTTP\/1\.1 403 /);
  assert.match(text, /^connection: close\r$/im);
});

test('lets a worker know that its client is gone', async () => {
  {
    using client = await connectRaw(daemon);
    client.send(`GET /hang HTTP/1.1\r\n${HEAD}X-Id: gone-1\r\n\r\n`);
    await eventually(() => readExecutions(daemon).has('gone-1'));
  }
  await eventually(() => readFileSync(path.join(daemon.folder, 'shared/executed'), 'utf8').includes('gone-1 closed'));
  await eventually(() => daemon.events('access').some(({ target, status }) => target === '/hang' && status === 499));
});

test('an HTTP/1.0 client gets its answer and the end of the connection', async () => {
  const text = await exchange(`GET /bytes?size=10&chunked HTTP/1.0\r\n${HEAD}\r\n`);
  assert.match(text, /^HTTP\/1\.1 200 /);
  assert.doesNotMatch(text, /transfer-encoding/i);
  assert.ok(text.endsWith('\r\n\r\nxxxxxxxxxx'));
});

const BAD_CLIENTS: readonly (readonly [what: string, bytes: string, status: number])[] = [
  ['bytes that are not HTTP', '\x16\x03\x01\x02\x00\x01\r\n\r\n', 400],
  ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 400],
  ['a head in bare LFs', 'GET / HTTP/1.1\nHost: localhost\n\n', 400],
  ['both framings', `POST / HTTP/1.1\r\n${HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['two lengths', `POST / HTTP/1.1\r\n${HEAD}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`, 400],
  ['two hosts', `GET / HTTP/1.1\r\n${HEAD}Host: b\r\n\r\n`, 400],
  ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
  ['a bad chunk', `POST /echo HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
  ['another scheme', `GET http://localhost/ HTTP/1.1\r\n${HEAD}\r\n`, 400],
  ['a head that is too large', `GET / HTTP/1.1\r\n${HEAD}${`A: ${'b'.repeat(4000)}\r\n`.repeat(5)}\r\n`, 431],
  ['a head without an end', `GET / HTTP/1.1\r\n${HEAD}${'A: b\r\n'.repeat(4000)}`, 431],
  ['a target that is too long', `GET /${'a'.repeat(9000)} HTTP/1.1\r\n${HEAD}\r\n`, 414],
  ['a body that is announced too large', `POST /echo HTTP/1.1\r\n${HEAD}Content-Length: 2000000\r\n\r\n`, 413],
  [
    'a body that grows too large',
    `POST /echo HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n200000\r\n${'x'.repeat(1_200_000)}`,
    413,
  ],
  ['CONNECT', `CONNECT a:443 HTTP/1.1\r\n${HEAD}\r\n`, 405],
  ['TRACE', `TRACE / HTTP/1.1\r\n${HEAD}\r\n`, 405],
  ['an unknown expectation', `POST / HTTP/1.1\r\n${HEAD}Expect: a miracle\r\nContent-Length: 1\r\n\r\n`, 417],
  ['HTTP/2 without its preface', `GET / HTTP/2.0\r\n${HEAD}\r\n`, 505],
];

for (const [what, bytes, status] of BAD_CLIENTS) {
  test(`refuses ${what} with ${status}, logs it, and serves the next client`, async () => {
    const logged = daemon.events('access').length;
    const text = await exchange(bytes);
    assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `), JSON.stringify(text));
    assert.match(text, /^connection: close\r$/im);
    assert.equal(text.match(/HTTP\/1\.1 /g)?.length, 1, 'one answer');
    await eventually(() =>
      daemon
        .events('access')
        .slice(logged)
        .some((line) => line['status'] === status),
    );
    assert.equal(
      (await run('curl', ['-sSk', '--http1.1', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}/`])).stdout,
      '200',
    );
  });
}

const LIMITS: readonly (readonly [max_headers: number, max_request_line: number])[] = [
  [10, 256],
  [150, 12_000],
];

for (const [maxHeaders, maxRequestLine] of LIMITS) {
  test(`takes ${maxHeaders} fields and a request line of ${maxRequestLine} bytes where it is told to, and no more`, async () => {
    await using own = await startDaemon({
      config: CONFIG,
      entrypoint: `max_headers: ${maxHeaders}, max_request_line: ${maxRequestLine}`,
    });
    const status = async (line: number, fields: number): Promise<string> => {
      using client = await connectRaw(own);
      const more = 'X: y\r\n'.repeat(fields - 2);
      client.send(`GET ${'/'.padEnd(line - 13, 'a')} HTTP/1.1\r\n${HEAD}Connection: close\r\n${more}\r\n`);
      return (await client.closed()).slice(9, 12);
    };
    assert.equal(await status(maxRequestLine, maxHeaders), '200');
    assert.equal(await status(maxRequestLine + 1, maxHeaders), '414');
    assert.equal(await status(maxRequestLine, maxHeaders + 1), '431');
  });
}

test('nothing of a refused request reaches a worker', async () => {
  // These turn out bad after they were begun in good faith.
  const begun = new Set(['a bad chunk', 'a body that grows too large']);
  for (const [what, bytes] of BAD_CLIENTS) {
    if (!begun.has(what)) await exchange(bytes.replace('\r\n', '\r\nX-Id: refused\r\n'));
  }
  assert.equal(readExecutions(daemon).get('refused'), undefined);
});

const BAD_WORKERS: readonly (readonly [what: string, path: string, status: number])[] = [
  ['sends no HTTP', '/garbage', 502],
  ['closes without an answer', '/drop', 502],
  ['does not answer in time', '/hang', 504],
];

for (const [what, target, status] of BAD_WORKERS) {
  test(`a worker that ${what} costs its own client a ${status}, and nobody else anything`, async () => {
    const [bad, ...good] = await Promise.all([
      run('curl', [
        '-sSk',
        '--http1.1',
        '--http1.1',
        '-X',
        'POST',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        `${daemon.origin}${target}`,
      ]),
      ...Array.from({ length: 8 }, () =>
        run('curl', ['-sSk', '--http1.1', '-o', '/dev/null', '-w', '%{http_code}', `${daemon.origin}/`]),
      ),
    ]);
    assert.equal(bad?.stdout, String(status));
    for (const { stdout } of good) assert.equal(stdout, '200');
  });
}

test('an answer cut by its worker is cut for the client too, never made to look whole', async () => {
  const { code } = await run('curl', ['-sSk', '--http1.1', `${daemon.origin}/cut`]);
  // 18: partial file; 56: failure in receiving.
  assert.ok(code === 18 || code === 56, `curl ended with ${code}`);
});

test('a client that reads slowly holds the worker back, not memory', async () => {
  using client = await connectRaw(daemon);
  const proxies = (await daemon.status()).proxies.flatMap(({ pid }) => pid ?? []);
  const before = proxies.map(residentBytes);
  client.socket.pause();
  client.send(`GET /bytes?size=400000000 HTTP/1.1\r\n${HEAD}X-Id: slow-reader\r\n\r\n`);
  await eventually(() => readExecutions(daemon).has('slow-reader'));
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const grown = proxies.map((pid, i) => residentBytes(pid) - (before[i] ?? 0));
  assert.ok(Math.max(...grown) < 50e6, `grew by ${grown.join(', ')} bytes`);
});
