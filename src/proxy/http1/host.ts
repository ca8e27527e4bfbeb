/** `uri-host [ ":" port ]` of RFC 9112 section 3.2, without the userinfo and escapes that only confuse. */
import net from 'node:net';
import { HOST } from './chars.ts';

const MAX_HOST = 255;

/** The host, lower case, without port, brackets and trailing dot; null when it is not valid or empty. */
export function parseAuthority(authority: string): string | null {
  let end = authority.length;
  if (authority.charCodeAt(0) === 0x5b) {
    end = authority.indexOf(']') + 1;
    if (end < 4 || !net.isIPv6(authority.slice(1, end - 1)) || authority.includes('%')) return null;
    if (!isPort(authority, end)) return null;
    return authority.slice(1, end - 1).toLowerCase();
  }
  let upper = false;
  for (let i = 0; i < authority.length; i++) {
    const code = authority.charCodeAt(i);
    if (HOST[code] === 1) {
      if (code >= 0x41 && code <= 0x5a) upper = true;
    } else if (code === 0x3a) {
      end = i;
      break;
    } else {
      return null;
    }
  }
  if (!isPort(authority, end)) return null;
  if (end > 1 && authority.charCodeAt(end - 1) === 0x2e) end--;
  if (end === 0 || end > MAX_HOST || authority.charCodeAt(0) === 0x2e) return null;
  const host = end === authority.length ? authority : authority.slice(0, end);
  return upper ? host.toLowerCase() : host;
}

/** Nothing, or a colon and up to five digits within a port's range. */
function isPort(authority: string, at: number): boolean {
  if (at === authority.length) return true;
  if (authority.charCodeAt(at) !== 0x3a || authority.length - at > 6) return false;
  let port = 0;
  for (let i = at + 1; i < authority.length; i++) {
    const digit = authority.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65_535;
}
