/** `hsts`: browsers are told to come by https only (RFC 6797 section 7.2: never said over plain HTTP). */
import { withoutFields } from './headers.ts';
import type { Policy } from './policy.ts';

const NAME = ['strict-transport-security'];

export const hsts: Policy = ({ site }) => {
  const { maxAgeSeconds, includeSubdomains, preload } = site.hsts;
  if (maxAgeSeconds === null) return null;
  const value = `max-age=${maxAgeSeconds}${includeSubdomains ? '; includeSubDomains' : ''}${preload ? '; preload' : ''}`;
  const line = `Strict-Transport-Security: ${value}\r\n`;
  return {
    onResponse: (fields, { scheme }) => (scheme === 'https' ? withoutFields(fields, NAME) + line : fields),
  };
};
