/** Who a request is from, when it came through a proxy that may say so. */
import net from 'node:net';
import type { AddressSet } from '../address_set.ts';
import { plainAddress } from '../address_set.ts';
import { clientFields } from './access_lines.ts';
import { parseAuthority } from './http1/host.ts';
import type { RequestHead } from './http1/request_head.ts';

/** What is known of a connection's client, the same for all its requests. */
export interface ClientInfo {
  readonly remote: string;
  readonly scheme: 'http' | 'https';
  /** The TLS version; null: plain. */
  readonly tls: string | null;
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
  /** What a JSON access line says of it. */
  readonly logFields: string;
  /** The field lines that tell a worker of this client. */
  readonly forwarded: string;
  /** What the host was called in front of a trusted proxy; null: as it is called here. */
  readonly forwardedHost: string | null;
  /** The connection is a trusted proxy's, which may say whom it speaks for. */
  readonly trusted: boolean;
  /** Whether the connection's certificate is one for the host; a plain connection's has none to be wrong. */
  servesHost(host: string): boolean;
}

/** What a worker is told of a client by field lines that are the same for all its requests. */
export function forwardedLines(chain: string, scheme: string): string {
  return `X-Forwarded-For: ${chain}\r\nX-Forwarded-Proto: ${scheme}\r\n`;
}

/**
 * What holds for one request of a trusted proxy's connection. Its `X-Forwarded-For` is read from the right: the first
 * address that is not a trusted proxy's is the client's, and whatever stands left of it is only that client's word.
 */
export function identify(connection: ClientInfo, head: RequestHead, isTrusted: AddressSet): ClientInfo {
  const hops = head.forwardedFor === '' ? [] : head.forwardedFor.split(',');
  let { remote } = connection;
  let chain = remote;
  for (let i = hops.length - 1; i >= 0 && isTrusted(remote); i--) {
    const hop = addressOf(hops[i] ?? '');
    if (hop === null) break;
    remote = hop;
    chain = `${hop}, ${chain}`;
  }
  const said = head.forwardedProto.toLowerCase();
  const scheme = said === 'http' || said === 'https' ? said : connection.scheme;
  const host = head.forwardedHost;
  return {
    ...connection,
    remote,
    scheme,
    logFields: clientFields(remote, connection.protocol, connection.tls),
    forwarded: forwardedLines(chain, scheme),
    forwardedHost: host !== '' && parseAuthority(host) !== null ? host : null,
  };
}

/** RFC 7239: what `X-Forwarded-*` say in three lines, in one. */
export function forwardedField({ remote, scheme, forwardedHost }: ClientInfo, authority: string): string {
  const node = remote.includes(':') ? `"[${remote}]"` : remote;
  return `Forwarded: for=${node};host="${forwardedHost ?? authority}";proto=${scheme}\r\n`;
}

/** An address with or without brackets and port, as some proxies write it. */
function addressOf(text: string): string | null {
  const trimmed = text.trim();
  const [, bracketed, v4] = /^(?:\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)$/.exec(trimmed) ?? [];
  const address = plainAddress(bracketed ?? v4 ?? trimmed);
  return net.isIP(address) === 0 || address.includes('%') ? null : address;
}
