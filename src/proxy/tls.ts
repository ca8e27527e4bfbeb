/** TLS termination: the right certificate by name, nobody else's when there is none, tickets any proxy can open. */
import net from 'node:net';
import tls from 'node:tls';
import { plainAddress } from '../address_set.ts';
import type { CertificateEntry, CertificatesPart } from '../snapshot.ts';

/** Mozilla's intermediate guideline 6.0: no CBC, no DHE, the client's preference decides. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');
const CURVES = 'X25519MLKEM768:X25519:prime256v1:secp384r1';
/** RFC 6066 section 3: a fatal alert, unrecognized_name, as a record of TLS 1.2 (RFC 8446 section 5.1). */
const UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112]);
/** RFC 7301 section 3.2, likewise: no_application_protocol. */
const NO_APPLICATION_PROTOCOL = Buffer.from([21, 3, 3, 0, 2, 2, 120]);
/** RFC 8737: what a CA that asks for tls-alpn-01 speaks, and nobody else. */
const ACME_TLS = 'acme-tls/1';
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Tickets must open in every proxy of ours, so all name the same context. */
const SESSION_ID_CONTEXT = 'proxy';

const PROTOCOL = {
  minVersion: 'TLSv1.2',
  ciphers: CIPHERS,
  ecdhCurve: CURVES,
  honorCipherOrder: false,
} as const;

export interface CertificateIndex {
  lookup(name: string): tls.SecureContext | undefined;
  /** The certificate itself, for a base context. */
  entry(name: string): CertificateEntry | undefined;
}

/** Contexts by name; those of certificates that are in `previous` unchanged are taken over. */
export function createCertificateIndex(part: CertificatesPart, previous?: CertificateCache): CertificateCache {
  const contexts = new Map<string, tls.SecureContext>();
  const names = new Map<string, CertificateEntry>();
  for (const entry of part.certificates) {
    const context =
      previous?.contexts.get(entry.id) ??
      tls.createSecureContext({
        ...PROTOCOL,
        cert: entry.certificate,
        key: entry.key,
        sessionIdContext: SESSION_ID_CONTEXT,
      });
    contexts.set(entry.id, context);
    for (const name of entry.names) if (!names.has(name)) names.set(name, entry);
  }
  const entry = (name: string): CertificateEntry | undefined => {
    const exact = names.get(name);
    if (exact !== undefined) return exact;
    const dot = name.indexOf('.');
    return dot > 0 ? names.get(`*${name.slice(dot)}`) : undefined;
  };
  const lookup = (name: string): tls.SecureContext | undefined => {
    const found = entry(name);
    return found === undefined ? undefined : contexts.get(found.id);
  };
  return { contexts, entry, lookup };
}

export interface CertificateCache extends CertificateIndex {
  readonly contexts: ReadonlyMap<string, tls.SecureContext>;
}

export interface TlsTerminator {
  /** Takes a fresh connection, made to `local`; `onSecure` gets it once the handshake is done. */
  accept(raw: net.Socket, local: string): void;
  setTicketKeys(key: Buffer): void;
  /** Connections without SNI are answered by local address: those contexts are made anew. */
  certificatesChanged(): void;
}

export interface SecureConnection {
  readonly socket: tls.TLSSocket;
  /** Whether the certificate that was shown is one for the host. */
  readonly servesHost: (host: string) => boolean;
}

export interface TlsTerminatorOptions {
  readonly certificates: () => CertificateIndex;
  readonly ticketKey: Buffer;
  /** Whether HTTP/2 is offered now. */
  readonly http2: () => boolean;
  /** What tls-alpn-01 shows by this name, in lower case; null: it is not being asked for. */
  readonly challenge: (name: string) => tls.SecureContext | null | Promise<tls.SecureContext | null>;
  readonly onSecure: (connection: SecureConnection) => void;
  readonly onError: (error: Error, remote: string | undefined) => void;
}

export function createTlsTerminator(options: TlsTerminatorOptions): TlsTerminator {
  let ticketKey = options.ticketKey;
  // The base context answers when the client names nobody; one server per base certificate, and one without any.
  const byAddress = new Map<string, tls.Server>();
  let nameless: tls.Server | null = null;
  let http2 = options.http2();

  const showChallenge = async (socket: unknown, name: string, done: SniDone): Promise<void> => {
    const context = await options.challenge(name);
    if (context !== null) return done(null, context);
    sayBelow(socket, NO_APPLICATION_PROTOCOL);
    done(new NoChallengeError());
  };

  const createServer = (base: CertificateEntry | undefined): tls.Server => {
    const server = tls.createServer({
      ...PROTOCOL,
      ...(base === undefined ? {} : { cert: base.certificate, key: base.key }),
      ticketKeys: ticketKey,
      sessionIdContext: SESSION_ID_CONTEXT,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      // A client that speaks none of ours is told so (RFC 7301 section 3.2), not served by guesswork (ALPACA).
      // The last is chosen for those alone who offer nothing else.
      ALPNProtocols: [...(http2 ? ['h2'] : []), 'http/1.1', ACME_TLS],
      SNICallback: function (this: unknown, name, done) {
        if (isAskedForChallenge(this)) return showChallenge(this, name.toLowerCase(), done);
        const context = options.certificates().lookup(name.toLowerCase());
        if (context !== undefined) return done(null, context);
        sayBelow(this, UNRECOGNIZED_NAME);
        // With a context of null the base certificate would be served: somebody else's.
        done(new UnknownNameError());
      },
    });
    server.on('secureConnection', (socket) => {
      // RFC 8737 section 3: the handshake was the answer. It was none where nothing is armed (a resumed session, TLS 1.2).
      if (socket.alpnProtocol === ACME_TLS) return socket.on('error', () => {}).destroySoon();
      socket.disableRenegotiation();
      const { servername } = socket;
      // OpenSSL keeps no server name with a session of TLS 1.2: whose certificate the client saw is not known any more.
      if (!servername && socket.isSessionReused() && socket.getProtocol() === 'TLSv1.2') {
        const { entry } = options.certificates();
        return options.onSecure({ socket, servesHost: (host) => entry(host) !== undefined });
      }
      const shown = servername ? options.certificates().entry(servername.toLowerCase()) : base;
      const names = shown?.names ?? [];
      options.onSecure({ socket, servesHost: (host) => names.some((name) => covers(name, host)) });
    });
    server.on('tlsClientError', (error, socket) => {
      options.onError(error, socket.remoteAddress);
      socket.destroy();
    });
    return server;
  };

  const serverFor = (local: string): tls.Server => {
    if (http2 !== options.http2()) {
      http2 = options.http2();
      nameless = null;
      byAddress.clear();
    }
    const address = plainAddress(local);
    const base = options.certificates().entry(address);
    if (base === undefined) return (nameless ??= createServer(undefined));
    let server = byAddress.get(address);
    if (server === undefined) byAddress.set(address, (server = createServer(base)));
    return server;
  };

  return {
    accept: (raw, local) => serverFor(local).emit('connection', raw),
    setTicketKeys: (key) => {
      ticketKey = key;
      nameless?.setTicketKeys(key);
      for (const server of byAddress.values()) server.setTicketKeys(key);
    },
    certificatesChanged: () => byAddress.clear(),
  };
}

/** RFC 9525 section 6.3: a wildcard stands for one label. */
function covers(name: string, host: string): boolean {
  return (
    name === host || (name.startsWith('*.') && host.indexOf('.') > 0 && host.slice(host.indexOf('.')) === name.slice(1))
  );
}

/**
 * In TLS 1.3 the protocol is agreed on before the certificate is chosen, so one call into the handshake tells. Of its
 * 500 µs of CPU that cannot be measured; an ALPNCallback takes 10 more, and cannot wait for an answer. In TLS 1.2 it is
 * agreed on after: such a CA would be shown the ordinary certificate, but all that are known to ask speak TLS 1.3.
 */
function isAskedForChallenge(socket: unknown): boolean {
  const handle: unknown = socket instanceof tls.TLSSocket ? Reflect.get(socket, '_handle') : null;
  if (typeof handle !== 'object' || handle === null) return false;
  const negotiated: unknown = Reflect.get(handle, 'getALPNNegotiatedProtocol');
  return typeof negotiated === 'function' && negotiated.call(handle) === ACME_TLS;
}

/** `socket` is destroyed by what follows, without a word of its own: this goes past it to the connection below. */
function sayBelow(socket: unknown, alert: Buffer): void {
  const below: unknown = socket instanceof tls.TLSSocket ? Reflect.get(socket, '_parent') : null;
  if (below instanceof net.Socket) below.write(alert);
}

type SniDone = (error: Error | null, context?: tls.SecureContext) => void;

class UnknownNameError extends Error {
  readonly code = 'UNKNOWN_SERVER_NAME';
  constructor() {
    super('no certificate for this server name');
  }
}

class NoChallengeError extends Error {
  readonly code = 'NO_CHALLENGE';
  constructor() {
    super('tls-alpn-01 was asked for a name that has nothing to show');
  }
}
