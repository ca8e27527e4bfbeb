/** How a service's requests are spread over its workers. */
import type { ServiceConfig } from './config.ts';
import type { Path } from './document.ts';
import type { ServiceInput } from './schema.ts';

/** RFC 6265 section 4.1.1, as a header's name too. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export function buildBalancing(
  { load_balancing: balancing }: ServiceInput,
  tell: (at: Path, message: string) => void,
): ServiceConfig['loadBalancing'] {
  const { policy, sticky_cookie: stickyCookie, retries, slow_start: slowStartMs, ejection } = balancing;
  const at: Path = ['load_balancing'];
  const hash = balancing.hash === undefined ? null : parseHash(balancing.hash);
  if (balancing.hash !== undefined && hash === null) {
    tell([...at, 'hash'], 'must be client, header:NAME or cookie:NAME');
  }
  if (policy === 'hash' && balancing.hash === undefined) {
    tell([...at, 'policy'], 'needs "hash" beside it: client, header:NAME or cookie:NAME');
  }
  if (policy !== 'hash' && balancing.hash !== undefined) tell([...at, 'hash'], 'is for "policy: hash" only');
  if (stickyCookie !== undefined && !TOKEN.test(stickyCookie)) tell([...at, 'sticky_cookie'], 'is not a cookie name');
  if (stickyCookie !== undefined && policy === 'hash') {
    tell([...at, 'sticky_cookie'], 'and "policy: hash" both bind a client to a worker: choose one');
  }
  return {
    policy,
    hash,
    stickyCookie: stickyCookie ?? null,
    retries,
    slowStartMs,
    ejectAfter: ejection.failures,
    ejectMs: ejection.duration,
  };
}

function parseHash(text: string): ServiceConfig['loadBalancing']['hash'] {
  if (text === 'client') return { by: 'client' };
  const [by, name = ''] = text.split(':', 2);
  if ((by !== 'header' && by !== 'cookie') || !TOKEN.test(name)) return null;
  return { by, name: by === 'header' ? name.toLowerCase() : name };
}
