/** `redirect` routes. `{uri}` in the address is the request's path and query, `{rest}` what follows the route's path. */
import type { RequestHead } from '../http1/request_head.ts';
import { withoutPrefix } from './strip_prefix.ts';
import type { Policy } from './policy.ts';

export const redirect: Policy = ({ route }) => {
  if (route === null || !('redirect' in route)) return null;
  const { path } = route;
  const { to, status } = route.redirect;
  const dynamic = /\{(?:uri|rest)\}/.test(to);
  const location = ({ target }: RequestHead): string => {
    if (!dynamic) return to;
    const uri = target === '*' ? '/' : target;
    // Without its slashes: behind an address of one slash, two would name another host.
    const rest = withoutPrefix(uri, path).replace(/^\/+/, '');
    return to.replaceAll('{uri}', () => uri).replaceAll('{rest}', () => rest);
  };
  return { onRequest: (head) => ({ status, fields: `Location: ${location(head)}\r\n`, body: '' }) };
};
