/** Host names: their one form, and which of them no public CA would vouch for. */
import net from 'node:net';
import { domainToASCII } from 'node:url';

const INTERNAL_SUFFIXES = ['.localhost', '.internal', '.local', '.test', '.home.arpa', '.lan'];
const LABEL = /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/;

/** Lower case, IDNA-encoded, IP addresses without brackets; null when it is no host name. `*` and `*.name` are kept. */
export function normalizeHost(text: string): string | null {
  if (text === '*') return text;
  const address = text.replace(/^\[(.*)\]$/, '$1');
  if (net.isIP(address) !== 0)
    return net.isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
  const wildcard = text.startsWith('*.');
  const name = domainToASCII(wildcard ? text.slice(2) : text).replace(/\.$/, '');
  // A name of digits and dots alone is an address gone wrong.
  if (
    name === '' ||
    name.length > 253 ||
    /^[\d.]+$/.test(name) ||
    !name.split('.').every((label) => LABEL.test(label))
  ) {
    return null;
  }
  return wildcard ? `*.${name}` : name;
}

/** Whether only the internal CA can issue for it: local names, names without a dot, private addresses. */
export function isInternalHost(host: string): boolean {
  if (net.isIP(host) !== 0) return isPrivateAddress(host);
  const name = host.replace(/^\*\./, '');
  return !name.includes('.') || INTERNAL_SUFFIXES.some((suffix) => `.${name}`.endsWith(suffix));
}

/** RFC 1918, 4193, 6598, 3927, loopback. */
const PRIVATE = new net.BlockList();
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['169.254.0.0', 16],
  ['127.0.0.0', 8],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv4');
}
PRIVATE.addAddress('::1', 'ipv6');
PRIVATE.addSubnet('fc00::', 7, 'ipv6');
PRIVATE.addSubnet('fe80::', 10, 'ipv6');

function isPrivateAddress(address: string): boolean {
  return PRIVATE.check(address, net.isIPv6(address) ? 'ipv6' : 'ipv4');
}
