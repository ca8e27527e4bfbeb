/** The header a load balancer puts in front of a connection: HAProxy's PROXY protocol, versions 1 and 2. */
import net from 'node:net';
import { plainAddress } from '../address_set.ts';

export interface ProxyHeader {
  /** Bytes it takes; what follows is the client's. */
  readonly length: number;
  /** null: the balancer speaks for itself, or of nothing that has an address. */
  readonly source: string | null;
  readonly destination: string | null;
}

/** Section 2.1: no line of version 1 is longer. */
const MAX_LINE = 107;
/** Section 2.2 allows 64 KiB of extensions; those in use stay far below. */
const MAX_V2 = 4 * 1024;
const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);

/** The header that `bytes` begin with; 'incomplete' when more must come, 'invalid' when it is none. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  const seen = Math.min(bytes.length, SIGNATURE.length);
  if (bytes.subarray(0, seen).equals(SIGNATURE.subarray(0, seen))) {
    return seen < SIGNATURE.length ? 'incomplete' : parseV2(bytes);
  }
  return parseV1(bytes);
}

function parseV1(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  const text = bytes.toString('latin1', 0, MAX_LINE);
  if (!'PROXY '.startsWith(text.slice(0, 6))) return 'invalid';
  const end = text.indexOf('\r\n');
  if (end < 0) return bytes.length < MAX_LINE ? 'incomplete' : 'invalid';
  const length = end + 2;
  const line = text.slice(0, end);
  if (/^PROXY UNKNOWN(?: [\x20-\x7e]*)?$/.test(line)) return { length, source: null, destination: null };
  const [, family, source = '', destination = '', from = '', to = ''] =
    /^PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (\d{1,5}) (\d{1,5})$/.exec(line) ?? [];
  const version = Number(family);
  if (net.isIP(source) !== version || net.isIP(destination) !== version) return 'invalid';
  if (Number(from) > 65_535 || Number(to) > 65_535) return 'invalid';
  return { length, source: plainAddress(source), destination: plainAddress(destination) };
}

function parseV2(bytes: Buffer): ProxyHeader | 'incomplete' | 'invalid' {
  if (bytes.length < 16) return 'incomplete';
  const versionAndCommand = bytes[12] ?? 0;
  const family = bytes[13] ?? 0;
  const length = 16 + bytes.readUInt16BE(14);
  const command = versionAndCommand & 0x0f;
  if (versionAndCommand >> 4 !== 2 || command > 1 || length > MAX_V2) return 'invalid';
  if (bytes.length < length) return 'incomplete';
  // LOCAL: a health check of the balancer's own. Families other than TCP over IP have no address for us.
  if (command === 0) return { length, source: null, destination: null };
  const size = family === 0x11 ? 4 : family === 0x21 ? 16 : 0;
  if (size === 0) return { length, source: null, destination: null };
  if (length < 16 + 2 * size + 4) return 'invalid';
  return {
    length,
    source: addressAt(bytes, 16, size),
    destination: addressAt(bytes, 16 + size, size),
  };
}

function addressAt(bytes: Buffer, at: number, size: number): string {
  if (size === 4) return bytes.subarray(at, at + 4).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 2 * i).toString(16));
  // The form everything else writes an address in.
  return plainAddress(new net.SocketAddress({ family: 'ipv6', address: groups.join(':') }).address);
}

/**
 * Takes the header off a fresh connection and leaves what follows it on the socket, for whoever reads next. `done` gets null
 * when there is no valid header within the time.
 */
export function readProxyHeader(raw: net.Socket, timeoutMs: number, done: (header: ProxyHeader | null) => void): void {
  let pending = Buffer.alloc(0);
  const end = (header: ProxyHeader | null): void => {
    clearTimeout(timer);
    raw.off('data', onData).off('close', onClose);
    done(header);
  };
  const onClose = (): void => end(null);
  const onData = (chunk: Buffer): void => {
    pending = Buffer.concat([pending, chunk]);
    const header = parseProxyHeader(pending);
    if (header === 'incomplete') return;
    if (header === 'invalid') return end(null);
    raw.pause();
    if (pending.length > header.length) raw.unshift(pending.subarray(header.length));
    end(header);
  };
  // One of the few timers: such connections are a load balancer's, few and long-lived.
  const timer = setTimeout(onClose, timeoutMs);
  raw.on('data', onData).on('close', onClose);
}
