import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import type { ConnectionOptions, PeerCertificate } from 'node:tls';
import { createCertificateIndex, createTlsTerminator } from './tls.ts';
import { openInternalCa } from '../certificates/internal_ca.ts';
import { challengeCertificate } from '../certificates/solvers/tls_alpn01.ts';
import { createMemoryStorage } from '../certificates/storage/memory_storage.ts';

interface Seen {
  /** Of the certificate; null: the handshake failed, or was a resumption. */
  readonly shown: string | null;
  readonly protocol: string | false | null;
  readonly error: string | null;
  readonly resumed: boolean;
  readonly session: Buffer | undefined;
  /** For which hosts; null: not at all. */
  readonly served: string | null;
}

const CHALLENGE = 'ACME challenge';

/** A listener that serves app.example and nobody else; `armed`: names to contexts. `local`: the address it is reached at. */
async function listen(
  armed: ReadonlyMap<string, tls.SecureContext>,
  local = '127.0.0.1',
): Promise<AsyncDisposable & { see(options: ConnectionOptions): Promise<Seen> }> {
  const ca = await openInternalCa(createMemoryStorage(), Date.now());
  const { chain, key } = ca.issue(['app.example', '127.0.0.1'], Date.now());
  const index = createCertificateIndex({
    certificates: [{ id: '1', names: ['app.example', '127.0.0.1'], certificate: chain, key }],
    pending: {},
  });
  const terminator = createTlsTerminator({
    certificates: () => index,
    ticketKey: randomBytes(48),
    http2: () => true,
    // As a storage does, later.
    challenge: async (name) => {
      await new Promise(setImmediate);
      return armed.get(name) ?? null;
    },
    onSecure: ({ socket, servesHost }) => {
      const served = ['app.example', 'other.example'].filter(servesHost).join();
      socket.on('error', () => {}).end(served);
    },
    onError: () => {},
  });
  const server = net.createServer((raw) => terminator.accept(raw, local)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    see: (options) =>
      new Promise((resolve) => {
        let seen: Seen = {
          shown: null,
          protocol: null,
          error: null,
          resumed: false,
          session: undefined,
          served: null,
        };
        const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options }, () => {
          const { subject } = socket.getPeerCertificate() as Partial<PeerCertificate>;
          const name = subject?.CN;
          const shown = subject === undefined ? null : String(name ?? '') || 'app.example';
          seen = { ...seen, shown, protocol: socket.alpnProtocol, resumed: socket.isSessionReused() };
        });
        socket.on('session', (session: Buffer) => (seen = { ...seen, session }));
        socket.on('data', (data) => (seen = { ...seen, served: String(data) }));
        socket.on('error', (error: NodeJS.ErrnoException) => (seen = { ...seen, error: error.code ?? '' }));
        socket.on('close', () => resolve(seen));
      }),
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

function armedFor(name: string): ReadonlyMap<string, tls.SecureContext> {
  const pem = challengeCertificate(name, 'key authorization', Date.now());
  return new Map([[name, tls.createSecureContext({ cert: pem, key: pem })]]);
}

test('only who speaks nothing but acme-tls/1 sees the challenge; all others are served as ever', async () => {
  await using listener = await listen(armedFor('app.example'));
  const ca = await listener.see({ servername: 'APP.example', ALPNProtocols: ['acme-tls/1'] });
  assert.deepEqual(
    { ...ca, session: undefined },
    {
      shown: CHALLENGE,
      protocol: 'acme-tls/1',
      error: null,
      resumed: false,
      session: undefined,
      served: null,
    },
  );
  for (const [ALPNProtocols, protocol] of [
    [['h2', 'http/1.1'], 'h2'],
    [['acme-tls/1', 'http/1.1'], 'http/1.1'],
    [['acme-tls/1', 'h2'], 'h2'],
    [undefined, false],
  ] as const) {
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      const list = ALPNProtocols === undefined ? {} : { ALPNProtocols: [...ALPNProtocols] };
      const client = await listener.see({ servername: 'app.example', maxVersion, ...list });
      assert.equal(client.shown, 'app.example');
      assert.equal(client.protocol, protocol);
      assert.equal(client.served, 'app.example');
    }
  }
});

test('a name that has no certificate yet shows the challenge all the same', async () => {
  await using listener = await listen(armedFor('1.0.0.127.in-addr.arpa'));
  const servername = '1.0.0.127.in-addr.arpa';
  const ca = await listener.see({ servername, ALPNProtocols: ['acme-tls/1'] });
  assert.equal(ca.shown, CHALLENGE);
  const client = await listener.see({ servername });
  assert.equal(client.error, 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME');
});

test('with nothing armed acme-tls/1 is refused with an alert, and never served', async () => {
  await using listener = await listen(new Map());
  for (const servername of ['app.example', 'other.example']) {
    const ca = await listener.see({ servername, ALPNProtocols: ['acme-tls/1'] });
    assert.equal(ca.error, 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
    assert.equal(ca.served, null);
  }
  const nameless = await listener.see({ ALPNProtocols: ['acme-tls/1'] });
  const old = await listener.see({ servername: 'app.example', maxVersion: 'TLSv1.2', ALPNProtocols: ['acme-tls/1'] });
  assert.deepEqual([nameless.served, old.served], [null, null]);
});

test('a resumed session serves the hosts it served before, and answers no challenge', async () => {
  await using listener = await listen(armedFor('app.example'), '192.0.2.1');
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    const options = { servername: 'app.example', maxVersion };
    const { session } = await listener.see(options);
    assert.ok(session !== undefined);
    const again = await listener.see({ ...options, session });
    assert.deepEqual([again.resumed, again.served], [true, 'app.example']);
    const ca = await listener.see({ ...options, session, ALPNProtocols: ['acme-tls/1'] });
    assert.deepEqual([ca.shown, ca.served], [null, null]);
  }
});
