/** `redirect_https`: plain requests go to https, or get the reason why there is no https yet. */
import type { Policy } from './policy.ts';

export const httpsRedirect: Policy = ({ site, pending }) => {
  if (site.redirectHttpsPort === null) return null;
  const port = site.redirectHttpsPort === 443 ? '' : `:${site.redirectHttpsPort}`;
  return {
    onRequest: ({ host, target }, { scheme }) => {
      if (scheme === 'https') return null;
      const reason = pending.get(host);
      if (reason !== undefined) return { failure: 'no_certificate', reason };
      const name = host.includes(':') ? `[${host}]` : host;
      return { status: 308, fields: `Location: https://${name}${port}${target === '*' ? '/' : target}\r\n`, body: '' };
    },
  };
};
