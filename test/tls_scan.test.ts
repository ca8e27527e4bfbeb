/** What scanners and plain TLS clients find at a listener: current protocols, nothing weak, and refusals that say what they are. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { inLanes } from './support/lanes.ts';
import { run } from './support/processes.ts';

/** Of RFC 8422 and RFC 8446, those with 128 bits of security or more. */
const GROUPS = ['secp256r1', 'secp384r1', 'x25519'];

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    config: `proxy_processes: 2\nsites: [{ hosts: [localhost, 127.0.0.1], service: web }]${RECORDING_SERVICE}`,
  });
});
after(() => daemon[Symbol.asyncDispose]());

async function openssl(args: readonly string[], input = ''): Promise<string> {
  const address = ['-connect', `127.0.0.1:${daemon.ports.https}`, '-CAfile', daemon.ca];
  const { stdout, stderr } = await run('openssl', ['s_client', ...address, ...args], { input });
  return stdout + stderr;
}

function connecting(options: tls.ConnectionOptions): tls.TLSSocket {
  const where = { port: daemon.ports.https, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false };
  return tls.connect({ ...where, ...options }).on('error', () => {});
}

async function connect(options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
  const socket = connecting(options);
  await once(socket, 'secureConnect');
  return socket;
}

test('sslscan finds TLS 1.2 and 1.3, authenticated encryption with ephemeral keys, and nothing weak', async () => {
  const { stdout } = await run('sslscan', ['--xml=-', `localhost:${daemon.ports.https}`]);
  const all = (pattern: RegExp): string[] => [...stdout.matchAll(pattern)].map((match) => match.slice(1).join(' '));
  assert.deepEqual(all(/<protocol type="(\w+)" version="([\d.]+)" enabled="1"/g), ['tls 1.2', 'tls 1.3'], stdout);
  const ciphers = all(/<cipher status="\w+" sslversion="TLSv(1\.\d)" bits="\d+" cipher="([^"]+)"/g);
  assert.equal(ciphers.length, 6, stdout);
  for (const cipher of ciphers) {
    assert.match(cipher, /^1\.[23] (?:TLS_|ECDHE-ECDSA-).*(?:GCM|CHACHA20)/);
    assert.doesNotMatch(cipher, /CBC|CCM/);
  }
  const groups = all(/<group sslversion="[^"]+" bits="\d+" name="(\w+)/g);
  assert.ok(groups.length >= GROUPS.length, stdout);
  assert.deepEqual([...new Set(groups)].toSorted(), GROUPS);
  assert.match(stdout, /<renegotiation supported="0"/);
  assert.doesNotMatch(stdout, /vulnerable="1"|<compression supported="1"/);
  assert.match(stdout, /<heartbleed sslversion="TLSv1\.2" vulnerable="0"/);
});

test('a client that knows the post-quantum key exchange gets it', async () => {
  for (const options of [{}, { ecdhCurve: 'X25519:X25519MLKEM768' }, { ecdhCurve: 'X25519MLKEM768' }]) {
    const socket = await connect(options);
    // Node's own default prefers it, and the client's preference decides.
    const wanted = options.ecdhCurve?.startsWith('X25519:') === true ? 'X25519' : 'X25519MLKEM768';
    assert.equal((socket.getEphemeralKeyInfo() as tls.EphemeralKeyInfo).name, wanted);
    socket.destroy();
  }
});

test('a name nobody serves is refused by an alert that says so, and gets no certificate', async () => {
  for (const version of ['-tls1_2', '-tls1_3']) {
    const text = await openssl(['-servername', 'stranger.example', version]);
    // RFC 6066 section 3: unrecognized_name.
    assert.match(text, /SSL alert number 112/, version);
    assert.match(text, /no peer certificate available/, version);
  }
  assert.match(await openssl(['-servername', 'LocalHost']), /Verify return code: 0/);
});

test('a client that asks for a stranger and is gone costs nobody else anything', async () => {
  const pids = (await daemon.status()).proxies.map(({ pid }) => pid);
  const hello = await clientHello('stranger.example');
  await inLanes(Array.from({ length: 200 }), 20, async (_, i) => {
    const socket = net.connect(daemon.ports.https, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(hello);
    if (i % 2 === 0) socket.resetAndDestroy();
    else socket.once('data', () => socket.resetAndDestroy());
    await once(socket, 'close');
  });
  const socket = await connect({});
  socket.destroy();
  assert.deepEqual(
    (await daemon.status()).proxies.map(({ pid }) => pid),
    pids,
  );
});

test('a client that wants to negotiate anew is left', async () => {
  const text = await openssl(['-servername', 'localhost', '-tls1_2'], 'R\n');
  assert.match(text, /RENEGOTIATING/);
  // With a second handshake it would verify the certificate a second time.
  assert.equal(text.match(/^depth=0/gm)?.length, 1, text);
  assert.match(text, /unexpected eof|alert/);
});

test('sessions of TLS 1.3 are resumed whichever proxy gave the ticket, for two hours', async () => {
  const first = connecting({ minVersion: 'TLSv1.3' });
  const [session] = (await once(first, 'session')) as [Buffer];
  first.destroy();
  // Two proxies: a ticket that only one of them could open would fail half of the connections.
  for (let i = 0; i < 12; i++) {
    const socket = await connect({ session, minVersion: 'TLSv1.3' });
    assert.ok(socket.isSessionReused(), `connection ${i}`);
    socket.destroy();
  }
  assert.match(await openssl(['-servername', 'localhost', '-tls1_2']), /ticket lifetime hint: 7200 \(seconds\)/);
});

/** The first bytes of a client that asks for the name. */
async function clientHello(servername: string): Promise<Buffer> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = tls.connect({ port: (server.address() as net.AddressInfo).port, host: '127.0.0.1', servername });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}
