/** `strip_prefix`: the worker gets the path without the route's, and is told what was taken off. */
import type { Policy } from './policy.ts';

export const stripPrefix: Policy = ({ route }) => {
  if (route === null || !('service' in route) || !route.stripPrefix) return null;
  const { path } = route;
  const prefix = bare(path);
  if (prefix === '') return null;
  return {
    onForward: (request) => {
      if (request.target === '*') return;
      request.target = withoutPrefix(request.target, path);
      request.fields += `X-Forwarded-Prefix: ${prefix}\r\n`;
    },
  };
};

/** `target` is known to begin with `path`, as a whole or by path segments. */
export function withoutPrefix(target: string, path: string): string {
  const rest = target.slice(bare(path).length);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

function bare(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path;
}
