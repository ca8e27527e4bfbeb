/** Who may ask at the metrics address. Pure, but for the hash that hides how much of a token was right. */
import { createHash, timingSafeEqual } from 'node:crypto';
import net from 'node:net';

export type Admission =
  /** `trusted`: it may see more than whether we are well. */
  | { readonly ok: true; readonly trusted: boolean }
  | { readonly ok: false; readonly status: 403 | 405; readonly message: string };

export interface Asked {
  readonly method: string;
  readonly host: string | undefined;
  readonly authorization: string | undefined;
}

export interface Rules {
  /** Only this machine can connect. */
  readonly loopback: boolean;
  readonly token: string | null;
}

export function admit({ method, host, authorization }: Asked, { loopback, token }: Rules): Admission {
  if (method !== 'GET' && method !== 'HEAD') {
    return { ok: false, status: 405, message: 'only GET and HEAD: nothing can be changed here' };
  }
  // A page somewhere, whose name was made to stand for this machine (DNS rebinding), says its own name here.
  if (loopback && host !== undefined && !isOwnName(host)) {
    return { ok: false, status: 403, message: 'this address is asked for as localhost or by its number' };
  }
  return { ok: true, trusted: token === null || proves(authorization, token) };
}

function isOwnName(host: string): boolean {
  const name = host
    .replace(/:\d{1,5}$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || net.isIP(name) !== 0;
}

/** `Bearer TOKEN`; or as a password to any name, which is what a browser can ask a person for. */
function proves(authorization: string | undefined, token: string): boolean {
  const [scheme = '', value = ''] = (authorization ?? '').split(' ', 2);
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return same(value, token);
    case 'basic': {
      const pair = Buffer.from(value, 'base64').toString('latin1');
      return same(pair.slice(pair.indexOf(':') + 1), token);
    }
    default:
      return false;
  }
}

function same(given: string, token: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(token));
}
