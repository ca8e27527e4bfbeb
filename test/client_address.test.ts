/** Who the client is: behind a proxy that may say so, behind one that may not, and with the PROXY protocol. */
import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { after, before, test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';

const SITES = `sites:
  - { hosts: [localhost], service: web }
  - { hosts: ["*"], tls: off, service: web }
`;

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    config: `trusted_proxies: [127.0.0.1, 10.0.0.0/8]\nforwarded_header: true\n${SITES}${RECORDING_SERVICE}`,
    entrypoint: 'max_connections_per_client: 2, max_requests: 3',
  });
});
after(() => daemon[Symbol.asyncDispose]());

interface Echo {
  readonly headers: Readonly<Record<string, string>>;
}

async function headersSeen(to: Daemon, url: string, ...args: readonly string[]): Promise<Echo['headers']> {
  const { stdout, stderr } = await run('curl', ['-sSk', '--max-time', '10', ...args, url]);
  try {
    return (JSON.parse(stdout) as Echo).headers;
  } catch {
    return assert.fail(`${stdout}${stderr}\n${to.log()}`);
  }
}

const CLAIMS = [
  'X-Forwarded-For: 6.6.6.6, 203.0.113.5, 10.1.1.1',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Host: app.example',
];
const claims = CLAIMS.flatMap((line) => ['-H', line]);

for (const version of ['--http1.1', '--http2']) {
  test(`a trusted proxy is believed, as far as its word reaches (${version})`, async () => {
    const headers = await headersSeen(daemon, `${daemon.origin}/echo`, version, ...claims);
    assert.equal(headers['x-forwarded-for'], '203.0.113.5, 10.1.1.1, 127.0.0.1');
    assert.equal(headers['x-forwarded-proto'], 'https');
    assert.equal(headers['x-forwarded-host'], 'app.example');
    assert.equal(headers['forwarded'], 'for=203.0.113.5;host="app.example";proto=https');
    await eventually(() => daemon.events('access').some(({ remote }) => remote === '203.0.113.5'));
  });

  test(`anybody else is not (${version})`, async () => {
    const headers = await headersSeen(
      daemon,
      `${daemon.origin}/echo`,
      version,
      '--interface',
      '127.0.0.2',
      ...claims,
      '-H',
      'Forwarded: for=6.6.6.6',
    );
    assert.equal(headers['x-forwarded-for'], '127.0.0.2');
    assert.equal(headers['x-forwarded-host'], `localhost:${daemon.ports.https}`);
    assert.equal(headers['forwarded'], `for=127.0.0.2;host="localhost:${daemon.ports.https}";proto=https`);
  });
}

test('what came by https to the proxy in front is not redirected there again', async () => {
  const status = async (...args: readonly string[]): Promise<string> =>
    (
      await run('curl', [
        '-sk',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        ...args,
        `http://localhost:${daemon.ports.http}/`,
      ])
    ).stdout;
  assert.equal(await status(), '308');
  assert.equal(await status('-H', 'X-Forwarded-Proto: https'), '200');
  assert.equal(await status('-H', 'X-Forwarded-Proto: https', '--interface', '127.0.0.2'), '308');
});

test("a site for any name behind a cloud's TLS", async () => {
  const url = `http://127.0.0.1:${daemon.ports.http}/echo`;
  const headers = await headersSeen(daemon, url, '-H', 'Host: app.example', '-H', 'X-Forwarded-Proto: https');
  assert.deepEqual([headers['host'], headers['x-forwarded-proto']], ['app.example', 'https']);
});

test('a client has so many connections, a trusted proxy as many as it needs', async () => {
  const connect = async (from: string): Promise<net.Socket> => {
    const socket = tls.connect({
      socket: net.connect({ port: daemon.ports.https, host: '127.0.0.1', localAddress: from }),
      servername: 'localhost',
      rejectUnauthorized: false,
    });
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
    return socket;
  };
  const perProxy = Number((await daemon.status()).proxies.length);
  const sockets: net.Socket[] = [];
  // Connections fall to the proxies by chance: with more than all of them take, some are refused.
  for (let i = 0; i < perProxy * 2 + 2; i++) sockets.push(await connect('127.0.0.3'));
  await eventually(() => sockets.some(({ destroyed }) => destroyed));
  const trusted = await Promise.all(Array.from({ length: 10 }, () => connect('127.0.0.1')));
  assert.ok(trusted.every(({ destroyed }) => !destroyed));
  for (const socket of [...sockets, ...trusted]) socket.destroy();
});

test('a connection ends after so many requests', async () => {
  using client = await connectRaw(daemon);
  for (let i = 1; i <= 3; i++) {
    client.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await eventually(() => client.received().match(/HTTP\/1\.1 200/g)?.length === i);
  }
  assert.equal((await client.closed()).match(/Connection: close/g)?.length, 1);
  const targets = Array.from({ length: 4 }, () => ['-o', '/dev/null', daemon.origin]).flat();
  const { stdout } = await run('curl', ['-sk', '--http2', '-w', '%{num_connects} ', ...targets]);
  assert.equal(stdout, '1 0 0 1 ');
});

test('the PROXY protocol names the client, in both versions, and only a trusted balancer may speak it', async () => {
  await using own = await startDaemon({
    config: `trusted_proxies: [127.0.0.1]\n${SITES}${RECORDING_SERVICE}`,
    entrypoint: 'proxy_protocol: true, timeouts: { headers: 1s }',
  });
  // curl's header says the addresses of its own connection; --haproxy-clientip is younger than Debian's curl.
  const headers = await headersSeen(own, `${own.origin}/echo`, '--haproxy-protocol');
  assert.equal(headers['x-forwarded-for'], '127.0.0.1');

  const ask = async (header: Buffer, from = '127.0.0.1'): Promise<string> => {
    const raw = net.connect({ port: own.ports.https, host: '127.0.0.1', localAddress: from });
    raw.on('error', () => {});
    for (const byte of header) raw.write(Buffer.from([byte]));
    const socket = tls.connect({ socket: raw, servername: 'localhost', rejectUnauthorized: false });
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.write('GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    return /"x-forwarded-for":"([^"]*)"/.exec(text)?.[1] ?? text;
  };
  assert.equal(await ask(Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n')), '203.0.113.9');
  const v2 = Buffer.from(
    '0d0a0d0a000d0a515549540a' +
      '2121' +
      '0024' +
      '20010db8000000000000000000000005' +
      '00000000000000000000000000000001' +
      '126701bb',
    'hex',
  );
  assert.equal(await ask(v2), '2001:db8::5');
  assert.equal(await ask(Buffer.from('PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n'), '127.0.0.2'), '');
  assert.equal(await ask(Buffer.from('nothing of the kind\r\n')), '');
  assert.equal(await ask(Buffer.from('PROXY TCP4 ')), '', 'its time is bounded');
  await eventually(() => own.events('access').some(({ remote }) => remote === '2001:db8::5'));
});

test('a client that moves too few bytes a second is let go', async () => {
  await using own = await startDaemon({ config: `${SITES}${RECORDING_SERVICE}`, entrypoint: 'min_rate: 1KiB' });
  using slow = await connectRaw(own);
  slow.send('POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n');
  const drops = setInterval(() => slow.send('x'), 100);
  try {
    assert.match(await slow.closed(15_000), /^HTTP\/1\.1 408 /);
  } finally {
    clearInterval(drops);
  }
});
