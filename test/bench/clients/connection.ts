import assert from 'node:assert/strict';
import { once } from 'node:events';
import tls from 'node:tls';

/** One key exchange and one cipher for all: what servers would choose differs, and costs differ with it. */
export const TLS = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', group: 'X25519' } as const;

/** A server that says nothing for so long has forgotten the connection. */
const SILENCE_MS = 10_000;

const secureContext = tls.createSecureContext({
  minVersion: TLS.version,
  ciphers: TLS.cipher,
  ecdhCurve: TLS.group,
});

export interface Handshake {
  readonly socket: tls.TLSSocket;
  /** How long it took. */
  readonly ms: number;
  /** For the connections after it: of its ticket, or the one it has resumed. */
  readonly session: Buffer;
}

/**
 * Connects and checks that it is what was asked for: a full handshake, or a session resumed. After a full one it waits for
 * the ticket, by which the server is done too; not all servers give another for one that was used.
 */
export async function shakeHands(port: number, session?: Buffer): Promise<Handshake> {
  const begun = performance.now();
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ALPNProtocols: ['http/1.1'],
    secureContext,
    // Made by the bench for this run; what it costs to verify is the client's.
    rejectUnauthorized: false,
    ...(session === undefined ? {} : { session }),
  });
  const ticket = session === undefined ? (once(socket, 'session') as Promise<[Buffer]>) : [session];
  socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error(`nothing from port ${port} for ${SILENCE_MS} ms`)));
  await once(socket, 'secureConnect');
  const ms = performance.now() - begun;
  assert.equal(socket.isSessionReused(), session !== undefined, 'whether the session was resumed');
  assert.equal(socket.getProtocol(), TLS.version);
  assert.equal(socket.getCipher().name, TLS.cipher);
  return { socket, ms, session: (await ticket)[0] as Buffer };
}
