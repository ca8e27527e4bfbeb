/** Answers to http-01: whatever site or redirect the name has, the CA is answered first (RFC 8555 section 8.3). */
import type { Challenges } from '../challenges.ts';
import type { RequestHead } from '../http1/request_head.ts';
import type { Verdict } from './policy.ts';

const PREFIX = '/.well-known/acme-challenge/';
/** RFC 8555 section 8.3: base64url, and nothing else ever reaches the lookup. */
const TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

/** Null: not a challenge that anybody knows; a promise of the same: that takes a moment to find out. */
export function challengeAnswer(
  { path, method }: RequestHead,
  challenges: Challenges,
): Verdict | null | Promise<Verdict | null> {
  if (!path.startsWith(PREFIX)) return null;
  const token = path.slice(PREFIX.length);
  if (!TOKEN.test(token) || (method !== 'GET' && method !== 'HEAD')) return null;
  const answer = challenges.http01(token);
  return answer instanceof Promise ? answer.then(verdict) : verdict(answer);
}

function verdict(body: string | null): Verdict | null {
  return body === null ? null : { status: 200, fields: 'Content-Type: text/plain\r\n', body };
}
