/** One listening address of this process: accepts, counts, terminates TLS where it should, and hands on. */
import net from 'node:net';
import type tls from 'node:tls';
import { plainAddress } from '../address_set.ts';
import { clientFields } from './access_lines.ts';
import { createClientCounter } from './client_counter.ts';
import { forwardedLines } from './client_identity.ts';
import type { Entry, Front } from './front.ts';
import { ClientConnection } from './http1/client_connection.ts';
import { Http2ClientConnection } from './http2/client_connection.ts';
import { readProxyHeader } from './proxy_protocol.ts';
import { createTlsTerminator } from './tls.ts';
import type { CertificateIndex, SecureConnection, TlsTerminator } from './tls.ts';
import type { ClientInfo } from './client_identity.ts';
import type { EntrypointEntry, EntrypointStats } from '../snapshot.ts';
import type { Logger } from '../log.ts';

export interface Entrypoint {
  readonly entry: Entry;
  /** Accepts on the socket of `slot`; resolves when it does. */
  listen(slot: number, handle: net.Server | unknown): Promise<void>;
  /** Stops accepting on one slot's socket, or on all. */
  unlisten(slot?: number): void;
  setTicketKeys(key: Buffer): void;
  certificatesChanged(): void;
  readonly connections: number;
  stats(): EntrypointStats;
  /** Closes idle connections now and the others after their request. */
  drain(): void;
  destroy(): void;
}

export interface EntrypointOptions {
  readonly limits: EntrypointEntry;
  readonly front: Front;
  readonly certificates: () => CertificateIndex;
  readonly ticketKey: () => Buffer;
  readonly log: Logger;
}

export function createEntrypoint(options: EntrypointOptions): Entrypoint {
  const { front, log } = options;
  const entry: Entry = { name: options.limits.name, limits: options.limits };
  const servers = new Map<number, net.Server>();
  const open = new Set<{ drain(): void; destroy(): void }>();
  const clients = createClientCounter();
  /** Of TLS connections between accept and handshake: whom they are from, by the address they come from. */
  const origins = new Map<string, Origin>();
  /** Accepted and not closed, in a handshake or beyond. */
  let accepted = 0;
  /** So far. */
  const counts = { accepted: 0, refused: 0, handshakes: 0, failedHandshakes: 0 };

  const serve = (socket: net.Socket, client: ClientInfo): void => {
    const connection: ClientConnection = new ClientConnection(socket, front, entry, client, () =>
      open.delete(connection),
    );
    open.add(connection);
  };
  const serveHttp2 = (socket: tls.TLSSocket, client: ClientInfo): void => {
    const connection: Http2ClientConnection = new Http2ClientConnection(socket, front, entry, client, () =>
      open.delete(connection),
    );
    open.add(connection);
  };

  const terminator: TlsTerminator | null = options.limits.tls
    ? createTlsTerminator({
        certificates: options.certificates,
        ticketKey: options.ticketKey(),
        http2: () => entry.limits.http2,
        challenge: (name) => front.challenges.tlsAlpn01(name),
        onSecure: ({ socket, servesHost }: SecureConnection) => {
          counts.handshakes++;
          const origin = origins.get(peerOf(socket));
          const http2 = socket.alpnProtocol === 'h2';
          // Gone between handshake and here.
          if (origin === undefined) return void socket.destroy();
          const version = socket.getProtocol() ?? 'TLS';
          const client = clientInfo(origin, version, http2 ? 'HTTP/2' : 'HTTP/1.1', servesHost);
          if (http2) serveHttp2(socket, client);
          else serve(socket, client);
        },
        onError: (error, remote) => {
          counts.failedHandshakes++;
          log.debug('handshake_failed', { entrypoint: entry.name, remote, error });
        },
      })
    : null;

  const onConnection = (raw: net.Socket): void => {
    const remote = raw.remoteAddress;
    if (remote === undefined || accepted >= entry.limits.maxConnections) {
      counts.refused++;
      return void raw.destroy();
    }
    accepted++;
    counts.accepted++;
    raw.once('close', onClose);
    const peer = plainAddress(remote);
    const trusted = front.isTrusted(peer);
    const local = raw.localAddress ?? '';
    if (!entry.limits.proxyProtocol) return admit(raw, { remote: peer, local, trusted });
    raw.on('error', () => raw.destroy());
    // Anybody else could claim to be anybody.
    if (!trusted) return refuse(raw);
    readProxyHeader(raw, entry.limits.headersMs, (header) => {
      if (header === null) return refuse(raw);
      // What the header names is a client, not a proxy whose word is good.
      admit(raw, {
        remote: header.source ?? peer,
        local: header.destination ?? local,
        trusted: header.source === null ? trusted : front.isTrusted(header.source),
      });
    });
  };

  const onClose = (): void => void accepted--;

  const refuse = (raw: net.Socket): void => {
    counts.refused++;
    raw.destroy();
  };

  const admit = (raw: net.Socket, origin: Origin): void => {
    const { remote, local, trusted } = origin;
    if (!trusted) {
      if (!clients.enter(remote, entry.limits.maxConnectionsPerClient)) return refuse(raw);
    }
    if (terminator === null) {
      if (!trusted) raw.once('close', () => clients.leave(remote));
      return serve(raw, clientInfo(origin, null, 'HTTP/1.1', servesAny));
    }
    const peer = peerOf(raw);
    origins.set(peer, origin);
    raw.on('error', destroy).once('close', () => {
      origins.delete(peer);
      if (!trusted) clients.leave(remote);
    });
    terminator.accept(raw, local);
  };

  return {
    entry,
    listen: (slot, handle) =>
      new Promise((resolve, reject) => {
        const server = net.createServer({ noDelay: true, pauseOnConnect: false }, onConnection);
        server.on('error', (error) => {
          log.error('listener_failed', { entrypoint: entry.name, slot, error });
          reject(error);
        });
        servers.set(slot, server);
        server.listen(handle, () => resolve());
      }),
    unlisten: (slot) => {
      for (const [key, server] of servers) {
        if (slot !== undefined && key !== slot) continue;
        server.close();
        servers.delete(key);
      }
    },
    setTicketKeys: (key) => terminator?.setTicketKeys(key),
    certificatesChanged: () => terminator?.certificatesChanged(),
    get connections() {
      return accepted;
    },
    stats: () => ({ open: accepted, ...counts }),
    drain: () => {
      for (const connection of open) connection.drain();
    },
    destroy: () => {
      for (const connection of open) connection.destroy();
    },
  };
}

/** Whom a connection is from, and the address of ours it was made to. */
interface Origin {
  readonly remote: string;
  readonly local: string;
  readonly trusted: boolean;
}

function destroy(this: net.Socket): void {
  this.destroy();
}

function peerOf(socket: net.Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function clientInfo(
  { remote, trusted }: Origin,
  version: string | null,
  protocol: ClientInfo['protocol'],
  servesHost: (host: string) => boolean,
): ClientInfo {
  const scheme = version === null ? 'http' : 'https';
  const forwarded = forwardedLines(remote, scheme);
  const logFields = clientFields(remote, protocol, version);
  return { remote, scheme, tls: version, protocol, logFields, forwarded, forwardedHost: null, trusted, servesHost };
}

function servesAny(): boolean {
  return true;
}
