/** Ways to servers that want TLS or HTTP/2, mostly through undici. A leaf: probes and proxies both need it. */
import net from 'node:net';
import tls from 'node:tls';
import { Client, H2CClient, Pool } from 'undici';
import type { Dispatcher } from 'undici';

export interface DispatcherOptions {
  readonly protocol: 'https' | 'h2c' | 'h2';
  /** An address, or a name whose addresses do not matter. */
  readonly host: string;
  readonly port: number;
  /** The name the server must prove by its certificate. */
  readonly serverName: string;
  /** PEM; null: the system's roots. */
  readonly trustedRoots: string | null;
  readonly connectTimeoutMs: number;
  /** Idle connections are closed after so long. */
  readonly idleTimeoutMs: number;
}

/** Requests at once on one connection of HTTP/2; the server may allow fewer. */
const MAX_STREAMS = 100;

/** Its clocks are off but for connecting and idling: whoever asks has their own. */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { protocol, host, port, serverName, trustedRoots, connectTimeoutMs, idleTimeoutMs } = options;
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const shared = {
    headersTimeout: 0,
    bodyTimeout: 0,
    connectTimeout: connectTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    keepAliveMaxTimeout: idleTimeoutMs,
    autoSelectFamily: false,
  };
  if (protocol === 'h2c') return new H2CClient(`http://${authority}`, { ...shared, maxConcurrentStreams: MAX_STREAMS });
  const connect = {
    ...proofOf(serverName),
    timeout: connectTimeoutMs,
    ...(trustedRoots === null ? {} : { ca: trustedRoots }),
  };
  if (protocol === 'https')
    return new Pool(`https://${authority}`, { ...shared, connect, allowH2: false, pipelining: 1 });
  const streams = { maxConcurrentStreams: MAX_STREAMS, pipelining: MAX_STREAMS };
  return new Client(`https://${authority}`, { ...shared, connect, allowH2: true, ...streams });
}

/** Whatever name is sent as SNI, this is the one to be proved. */
function proofOf(serverName: string): Required<Pick<tls.ConnectionOptions, 'checkServerIdentity'>> {
  return { checkServerIdentity: (_sent, certificate) => tls.checkServerIdentity(serverName, certificate) };
}

/** A connection of its own to an upstream of https, for HTTP/1.1 and what may follow it; `host` is an address. */
export function secureConnectOptions(
  { host, port, serverName }: Pick<DispatcherOptions, 'host' | 'port' | 'serverName'>,
  secureContext: tls.SecureContext,
): tls.ConnectionOptions {
  return {
    host,
    port,
    secureContext,
    ...serverNameOption(serverName),
    ...proofOf(serverName),
    ALPNProtocols: ['http/1.1'],
  };
}

/**
 * What a request must say beside its head: without it undici takes the SNI from each request's Host, and closes the
 * connection when that changes. An address is no SNI (RFC 6066 section 3).
 */
export function serverNameOption(serverName: string): { readonly servername?: string } {
  return net.isIP(serverName) === 0 ? { servername: serverName } : {};
}
