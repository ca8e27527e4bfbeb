/** Upstreams that want TLS or HTTP/2, and names that stand for several addresses. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { FIXTURES, freePort, startDaemon, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { createSelfSigned } from './support/self_signed.ts';

const PROTOCOLS = ['https', 'h2', 'h2c'] as const;

let daemon: Daemon;
const upstreams: ChildProcess[] = [];
before(async () => {
  const folder = temporaryFolder();
  const { key, certificate } = await createSelfSigned(folder, 'inner.example');
  const ports: Record<string, number> = {};
  for (const protocol of PROTOCOLS) {
    const port = (ports[protocol] = await freePort());
    const files = protocol === 'h2c' ? [] : [key, certificate];
    const child = spawn(process.execPath, [
      path.join(FIXTURES, 'foreign_upstream.mjs'),
      protocol,
      String(port),
      ...files,
    ]);
    upstreams.push(child);
    await once(child.stdout, 'data');
  }
  const service = (protocol: string, tls: string): string =>
    `  ${protocol}: { upstreams: ["${protocol}://127.0.0.1:${ports[protocol]}"], ${tls}timeouts: { response: 1s }, queue: { timeout: 100ms } }\n`;
  const trusted = `tls: { trusted_roots: [${certificate}], server_name: inner.example }, `;
  daemon = await startDaemon({
    config: `proxy_processes: 1
sites:
  - hosts: [localhost]
    routes:
      - { path: /https/, service: https, strip_prefix: true }
      - { path: /h2/, service: h2, strip_prefix: true }
      - { path: /h2c/, service: h2c, strip_prefix: true }
      - { path: /untrusted/, service: untrusted, strip_prefix: true }
      - { path: /misnamed/, service: misnamed, strip_prefix: true }
      - { path: /unresolved/, service: unresolved, strip_prefix: true }
services:
${service('https', trusted)}${service('h2', trusted)}${service('h2c', '')}
  untrusted: { upstreams: ["https://127.0.0.1:${ports['https']}"], tls: { server_name: inner.example }, queue: { timeout: 100ms } }
  misnamed: { upstreams: ["https://127.0.0.1:${ports['https']}"], tls: { trusted_roots: [${certificate}], server_name: other.example }, queue: { timeout: 100ms } }
  unresolved: { upstreams: ["http://nowhere.invalid:1"], queue: { timeout: 100ms } }
`,
  });
  await eventually(() => daemon.events('upstream_healthy').length >= PROTOCOLS.length);
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  for (const child of upstreams) child.kill('SIGKILL');
});

async function curl(...args: readonly string[]): Promise<string> {
  return (await run('curl', ['-sSk', '--max-time', '20', ...args])).stdout;
}

interface Echo {
  readonly url: string;
  readonly method: string;
  readonly version: string;
  readonly length: number;
  readonly headers: Readonly<Record<string, string>>;
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: requests and answers pass as to any worker`, async () => {
    const seen = JSON.parse(
      await curl(`${daemon.origin}/${protocol}/echo?a=1`, '-X', 'PUT', '--data-binary', 'hello', '-H', 'X-A: b'),
    ) as Echo;
    assert.deepEqual([seen.url, seen.method, seen.length], ['/echo?a=1', 'PUT', 5]);
    assert.equal(seen.version, protocol === 'https' ? '1.1' : '2.0');
    const host = seen.headers['host'] ?? seen.headers[':authority'];
    assert.equal(host, `localhost:${daemon.ports.https}`);
    assert.equal(seen.headers['x-a'], 'b');
    assert.equal(seen.headers['x-forwarded-proto'], 'https');
    const [line] = await eventually(() => {
      const lines = daemon.events('access').filter(({ target }) => target === `/${protocol}/echo?a=1`);
      return lines.length > 0 && lines;
    });
    assert.match(String(line?.['worker']), new RegExp(`^${protocol}@${protocol}://`));
  });

  test(`${protocol}: large bodies pass both ways, in chunks too`, async () => {
    const size = await curl(
      `${daemon.origin}/${protocol}/bytes?size=20000000`,
      '-o',
      '/dev/null',
      '-w',
      '%{size_download}',
    );
    assert.equal(size, '20000000');
    const upload = ['-X', 'POST', '-T', '/proc/self/exe', `${daemon.origin}/${protocol}/echo`, '-H', 'Expect:'];
    const whole = JSON.parse(await curl(...upload)) as Echo;
    const chunked = JSON.parse(await curl(...upload, '-H', 'Transfer-Encoding: chunked', '--http1.1')) as Echo;
    assert.ok(whole.length > 100_000);
    assert.equal(chunked.length, whole.length);
  });

  test(`${protocol}: a lost answer is a bad gateway, a late one a gateway timeout`, async () => {
    const status = (target: string, method: string): Promise<string> =>
      curl(`${daemon.origin}/${protocol}${target}`, '-X', method, '-d', 'x', '-o', '/dev/null', '-w', '%{http_code}');
    assert.equal(await status('/reset', 'POST'), '502');
    assert.equal(await status('/hang', 'POST'), '504');
    assert.equal(await status('/echo', 'POST'), '200');
  });
}

test('gRPC passes: both sides speak at once, and trailers follow the answer', async () => {
  const session = http2.connect(daemon.origin, { rejectUnauthorized: false });
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/h2c/duplex',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const trailers = once(stream, 'trailers') as Promise<[Record<string, string>]>;
    for (const message of ['one', 'two', 'three']) {
      stream.write(message);
      const [chunk] = (await once(stream, 'data')) as [Buffer];
      assert.equal(chunk.toString(), message);
    }
    stream.end();
    assert.equal((await trailers)[0]['grpc-status'], '0');
    const simple = session.request({ ':path': '/h2/echo', te: 'trailers' });
    simple.resume();
    const [after] = (await once(simple, 'trailers')) as [Record<string, string>];
    assert.deepEqual([after['grpc-status'], after['grpc-message']], ['0', 'fine']);
  } finally {
    session.destroy();
  }
});

test('a reload that trusts other roots asks for other proof, on new connections', async () => {
  const own = temporaryFolder();
  const first = await createSelfSigned(own, 'inner.example', 'first');
  const second = await createSelfSigned(own, 'inner.example', 'second');
  const read = (file: string): Buffer => readFileSync(file);
  const server = https.createServer({ key: read(first.key), cert: read(first.certificate) }, (_request, response) =>
    response.end('ok'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const trusting = (certificate: string): string => `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web: { upstreams: ["https://127.0.0.1:${port}"], tls: { trusted_roots: [${certificate}], server_name: inner.example }, queue: { timeout: 100ms } }
`;
  try {
    await using changed = await startDaemon({ config: trusting(first.certificate) });
    const status = (): Promise<string> => curl(changed.origin, '-o', '/dev/null', '-w', '%{http_code}');
    await eventually(async () => (await status()) === '200');
    server.setSecureContext({ key: read(second.key), cert: read(second.certificate) });
    server.closeAllConnections();
    await eventually(async () => (await status()).startsWith('50'));
    writeConfig(changed.folder, changed.ports, trusting(second.certificate));
    const { code, stderr } = await changed.verb('reload');
    assert.equal(code, 0, stderr);
    assert.equal(await status(), '200');
  } finally {
    server.close();
  }
});

test('an upstream whose certificate is not trusted, or for another name, gets no request', async () => {
  for (const service of ['untrusted', 'misnamed', 'unresolved']) {
    assert.equal(await curl(`${daemon.origin}/${service}/x`, '-o', '/dev/null', '-w', '%{http_code}'), '503', service);
  }
});
