/** Sets of addresses as operators write them: `10.0.0.0/8`, `2001:db8::1`, `private_ranges`. */
import net from 'node:net';

/** Loopback, private, shared and link-local networks (RFC 1122, 1918, 6598, 3927, 4193, 4291). */
const PRIVATE_RANGES = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '::1/128',
  'fc00::/7',
  'fe80::/10',
] as const;

export type AddressSet = (address: string) => boolean;

/** Whether the text is an address, a network or `private_ranges`. */
export function isAddressRange(text: string): boolean {
  return text === 'private_ranges' || parseRange(text) !== null;
}

/** Ranges that are none are left out: `isAddressRange` says which. */
export function createAddressSet(ranges: readonly string[]): AddressSet {
  const list = new net.BlockList();
  for (const range of ranges.flatMap((text) => (text === 'private_ranges' ? PRIVATE_RANGES : text))) {
    const parsed = parseRange(range);
    if (parsed !== null) list.addSubnet(parsed.address, parsed.prefix, parsed.family);
  }
  if (ranges.length === 0) return () => false;
  return (address) => {
    const plain = plainAddress(address);
    const family = net.isIP(plain);
    return family !== 0 && list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
  };
}

/** IPv4 addresses of a dual-stack socket come as `::ffff:10.0.0.1`. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && net.isIPv4(address.slice(7)) ? address.slice(7) : address;
}

function parseRange(text: string): { address: string; prefix: number; family: 'ipv4' | 'ipv6' } | null {
  const [address = '', prefixText] = text.split('/', 2);
  const version = net.isIP(address);
  if (version === 0 || address.includes('%') || text.split('/').length > 2) return null;
  const bits = version === 6 ? 128 : 32;
  if (prefixText !== undefined && !/^\d{1,3}$/.test(prefixText)) return null;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  return prefix <= bits ? { address, prefix, family: version === 6 ? 'ipv6' : 'ipv4' } : null;
}
