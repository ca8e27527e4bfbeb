/** One listening address of this process: accepts, counts, terminates TLS where it should, and hands on. */
import net from 'node:net';
import type tls from 'node:tls';
import type { Entry, Front } from './front.ts';
import { ClientConnection } from './http1/client_connection.ts';
import { Http2ClientConnection } from './http2/client_connection.ts';
import { createTlsTerminator, plainAddress } from './tls.ts';
import type { CertificateIndex, SecureConnection, TlsTerminator } from './tls.ts';
import type { ClientInfo } from './transaction.ts';
import type { EntrypointEntry } from '../snapshot.ts';
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
  /** Accepted and not closed, in a handshake or beyond. */
  let accepted = 0;

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
        onSecure: ({ socket, servesHost }: SecureConnection) => {
          const remote = socket.remoteAddress;
          // Gone between handshake and here.
          if (remote === undefined) socket.destroy();
          else if (socket.alpnProtocol === 'h2') {
            serveHttp2(socket, clientInfo(remote, socket.getProtocol() ?? 'TLS', 'HTTP/2', servesHost));
          } else serve(socket, clientInfo(remote, socket.getProtocol() ?? 'TLS', 'HTTP/1.1', servesHost));
        },
        onError: (error, remote) => log.debug('handshake_failed', { entrypoint: entry.name, remote, error }),
      })
    : null;

  const onConnection = (raw: net.Socket): void => {
    if (accepted >= entry.limits.maxConnections) {
      raw.destroy();
      return;
    }
    accepted++;
    raw.once('close', () => accepted--);
    if (terminator === null) {
      const remote = raw.remoteAddress;
      if (remote === undefined) raw.destroy();
      else serve(raw, clientInfo(remote, null, 'HTTP/1.1', servesAny));
      return;
    }
    raw.on('error', () => raw.destroy());
    terminator.accept(raw);
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
    drain: () => {
      for (const connection of open) connection.drain();
    },
    destroy: () => {
      for (const connection of open) connection.destroy();
    },
  };
}

function clientInfo(
  address: string,
  tls: string | null,
  protocol: ClientInfo['protocol'],
  servesHost: (host: string) => boolean,
): ClientInfo {
  const remote = plainAddress(address);
  const scheme = tls === null ? 'http' : 'https';
  const forwarded = `X-Forwarded-For: ${remote}\r\nX-Forwarded-Proto: ${scheme}\r\n`;
  return { remote, scheme, tls, protocol, forwarded, servesHost };
}

function servesAny(): boolean {
  return true;
}
