/** Answers to http-01: whatever site or redirect the name has, the CA is answered first (RFC 8555 section 8.3). */
import type { Verdict } from './policy.ts';

const PREFIX = '/.well-known/acme-challenge/';
/** RFC 8555 section 8.3: base64url, and nothing else ever reaches the lookup. */
const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

/** `tokens` are the key authorizations by token. */
export function challengeAnswer(path: string, tokens: ReadonlyMap<string, string>): Verdict | null {
  if (tokens.size === 0 || !path.startsWith(PREFIX)) return null;
  const token = path.slice(PREFIX.length);
  const body = TOKEN.test(token) ? tokens.get(token) : undefined;
  return body === undefined ? null : { status: 200, fields: 'Content-Type: text/plain\r\n', body };
}
