/** `acme`: who issues certificates, and how names are proved to be ours. */
import { z } from 'zod';
import { command, duration, text } from './values.ts';

const issuer = z.strictObject({
  ca: text.default('letsencrypt').describe('`letsencrypt`, `letsencrypt-staging` or a directory URL'),
  test_ca: text.optional().describe('what a dry run asks; without: its staging for `letsencrypt`, else the CA itself'),
  trusted_roots: z.array(text).default([]).describe('PEM files of a private CA'),
  profile: text.optional().describe("`shortlived` and the like; without: the CA's own choice"),
  eab: z.strictObject({ kid: text, hmac_key: text }).optional().describe('of an account at the CA'),
  preferred_chain: text.optional().describe("common name of the root; without: the CA's first chain"),
});

const dns = z.strictObject({
  exec: command
    .optional()
    .describe("called with `present` or `cleanup`, the record's name and its value; this or `rfc2136`"),
  exec_timeout: duration('60s').describe('of one call'),
  rfc2136: z
    .strictObject({
      server: text.describe('the name server that takes updates'),
      zone: text.optional().describe('without: found by asking'),
      key_name: text.optional().describe('of the TSIG key'),
      key_secret: text.optional().describe('base64'),
      algorithm: z.enum(['hmac-sha256', 'hmac-sha384', 'hmac-sha512']).default('hmac-sha256').describe('of the key'),
      ttl: duration('60s').describe('of the records'),
    })
    .optional(),
  propagation_timeout: duration('2m').describe('until every name server of the zone has the record'),
});

export const acmeSchema = z.strictObject({
  email: text.optional().describe('of the account'),
  agree_tos: z.boolean().default(false).describe("the CA's terms must be agreed to"),
  issuers: z
    .array(issuer)
    .min(1)
    .prefault([{}])
    .describe('the next is asked when the first failed three times and less than a sixth of the life is left'),
  challenges: z
    .array(z.enum(['http-01', 'tls-alpn-01', 'dns-01', 'dns-persist-01']))
    .min(1)
    .default(['http-01', 'tls-alpn-01'])
    .describe('in this order, what worked last first'),
  dns: dns.optional().describe('for `dns-01`; a CNAME at `_acme-challenge.` is followed'),
  resolvers: z.array(text).default([]).describe("name servers to ask; without: the system's"),
  public_addresses: z.array(text).default([]).describe('where the world finds this machine, for preflight'),
  key_type: z.enum(['p256', 'p384', 'rsa2048', 'rsa4096']).default('p256').describe('of new keys'),
  reuse_key: z.boolean().default(false).describe('renew with the same key'),
  hook: command
    .optional()
    .describe(
      'run when a certificate is obtained, failed, taken up, expiring or not served; `PROXY_EVENT`, `PROXY_NAME`, `PROXY_HOSTS`, `PROXY_SERIAL`, `PROXY_NOT_AFTER`, `PROXY_ERROR`, `PROXY_ALARM` say which',
    ),
});
