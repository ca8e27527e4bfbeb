/** What may be asked of CAs, and whether any of the ways to show control fits each name. */
import { statSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import type {
  AcmeConfig,
  ChallengeType,
  DnsConfig,
  EntrypointConfig,
  IssuerConfig,
  SiteConfig,
  TsigAlgorithm,
} from './config.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import type { Sections } from './schema.ts';

const LETSENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';
const LETSENCRYPT_STAGING = 'https://acme-staging-v02.api.letsencrypt.org/directory';
/** Let's Encrypt's classic profile; no CA is known to take more. */
const MAX_NAMES = 100;

type AcmeInput = NonNullable<Sections['acme']>;
type Tell = (at: Path, message: string) => void;

/** `sitesByIndex`: by their place in the file. */
export function checkAcme(
  document: SourceDocument,
  acme: Sections['acme'],
  sitesByIndex: ReadonlyMap<number, SiteConfig>,
  entrypoints: readonly EntrypointConfig[],
  base: string,
  problems: Problem[],
): AcmeConfig | null {
  const tell: Tell = (at, message) => void problems.push(document.problem(at, message));
  const asker = [...sitesByIndex.values()].find(({ tls }) => tls.mode === 'acme');
  if (acme === undefined) {
    if (asker === undefined) return null;
    tell(
      ['acme'],
      `${asker.name} needs a certificate from a CA; add the line: acme: { email: you@example.com, agree_tos: true }`,
    );
    return null;
  }
  if (asker !== undefined && !acme.agree_tos) {
    tell(['acme'], "the CA's terms of service must be agreed to; add the line: agree_tos: true");
  }
  for (const [index, site] of sitesByIndex) {
    if (site.tls.mode === 'acme') checkNames(index, site, acme.challenges, tell);
  }
  if (asker !== undefined && entrypoints.length > 0) checkEntrypoints(acme.challenges, entrypoints, tell);
  for (const key of ['resolvers', 'public_addresses'] as const) {
    acme[key].forEach((text, i) => {
      const address = key === 'resolvers' ? (parseServer(text, 53)?.host ?? '') : text;
      if (net.isIP(address) === 0) tell(['acme', key, i], 'must be an IP address');
    });
  }
  return {
    email: acme.email ?? null,
    agreeTos: acme.agree_tos,
    issuers: acme.issuers.map((issuer, i) => buildIssuer(issuer, ['acme', 'issuers', i], base, tell)),
    challenges: acme.challenges,
    dns: buildDns(acme, tell),
    resolvers: acme.resolvers,
    publicAddresses: acme.public_addresses,
    keyType: acme.key_type,
    reuseKey: acme.reuse_key,
    hook: acme.hook ?? null,
  };
}

function checkNames(index: number, { hosts }: SiteConfig, challenges: readonly ChallengeType[], tell: Tell): void {
  const at = (i: number): Path => ['sites', index, 'hosts', i];
  const byDns = challenges.some((type) => type === 'dns-01' || type === 'dns-persist-01');
  const byConnection = challenges.some((type) => type === 'http-01' || type === 'tls-alpn-01');
  if (hosts.length > MAX_NAMES) {
    tell(at(MAX_NAMES), `a certificate holds at most ${MAX_NAMES} names: make several sites of this one`);
  }
  hosts.forEach((host, i) => {
    if (host === '*') {
      tell(at(i), '"*" has no certificate: use tls: off, or name the hosts');
    } else if (host.startsWith('*.') && !byDns) {
      tell(at(i), 'a wildcard needs dns-01: add it to acme.challenges, with acme.dns');
    } else if (net.isIP(host) !== 0 && !byConnection) {
      tell(at(i), 'control over an address is shown by http-01 or tls-alpn-01: add one to acme.challenges');
    } else if (!host.startsWith('*.') && !byConnection && !byDns) {
      tell(at(i), 'none of acme.challenges fits this name');
    } else if (host.includes('_')) {
      tell(at(i), 'no public CA issues for a name with an underscore');
    }
    const wildcard = `*${host.slice(host.indexOf('.'))}`;
    if (!host.startsWith('*.') && net.isIP(host) === 0 && hosts.includes(wildcard)) {
      tell(at(i), `is covered by ${wildcard}, and CAs refuse both in one certificate: leave it out here`);
    }
  });
}

function checkEntrypoints(
  challenges: readonly ChallengeType[],
  entrypoints: readonly EntrypointConfig[],
  tell: Tell,
): void {
  const possible = challenges.some((type) => {
    if (type === 'http-01') return entrypoints.some(({ tls }) => !tls);
    return type !== 'tls-alpn-01' || entrypoints.some(({ tls }) => tls);
  });
  if (!possible)
    tell(['entrypoints'], 'none fits acme.challenges: http-01 needs one without TLS, tls-alpn-01 one with');
}

function buildIssuer(issuer: AcmeInput['issuers'][number], at: Path, base: string, tell: Tell): IssuerConfig {
  const ca = directoryUrl(issuer.ca);
  if (ca === null) tell([...at, 'ca'], 'must be letsencrypt, letsencrypt-staging or an https:// address');
  const byDefault = ca === LETSENCRYPT ? LETSENCRYPT_STAGING : (ca ?? '');
  const testCa = issuer.test_ca === undefined ? byDefault : directoryUrl(issuer.test_ca);
  if (testCa === null) tell([...at, 'test_ca'], 'must be letsencrypt, letsencrypt-staging or an https:// address');
  const trustedRoots = issuer.trusted_roots.map((file, i) => {
    const resolved = path.resolve(base, file);
    if (!statSync(resolved, { throwIfNoEntry: false })?.isFile()) {
      tell([...at, 'trusted_roots', i], `there is no file ${resolved}`);
    }
    return resolved;
  });
  if (issuer.eab !== undefined && !isBase64(issuer.eab.hmac_key)) {
    tell([...at, 'eab', 'hmac_key'], 'is not base64url');
  }
  return {
    ca: ca ?? '',
    testCa: testCa ?? '',
    trustedRoots,
    profile: issuer.profile ?? null,
    eab: issuer.eab === undefined ? null : { kid: issuer.eab.kid, hmacKey: issuer.eab.hmac_key },
    preferredChain: issuer.preferred_chain ?? null,
  };
}

function buildDns({ dns, challenges }: AcmeInput, tell: Tell): DnsConfig | null {
  const at: Path = ['acme', 'dns'];
  if (dns === undefined) {
    if (challenges.includes('dns-01')) tell(['acme', 'challenges'], 'dns-01 needs acme.dns: exec or rfc2136');
    return null;
  }
  const { exec, rfc2136 } = dns;
  if ((exec === undefined) === (rfc2136 === undefined)) {
    tell(at, 'needs exactly one of "exec" and "rfc2136"');
    return null;
  }
  const propagationTimeoutMs = dns.propagation_timeout;
  if (exec !== undefined) {
    return { method: { type: 'exec', command: exec, timeoutMs: dns.exec_timeout }, propagationTimeoutMs };
  }
  if (rfc2136 === undefined) return null;
  const server = parseServer(rfc2136.server, 53);
  if (server === null) tell([...at, 'rfc2136', 'server'], 'must be a name or an address, with or without :port');
  if ((rfc2136.key_name === undefined) !== (rfc2136.key_secret === undefined)) {
    tell([...at, 'rfc2136'], '"key_name" and "key_secret" go together');
  }
  if (rfc2136.key_secret !== undefined && !isBase64(rfc2136.key_secret)) {
    tell([...at, 'rfc2136', 'key_secret'], 'is not base64');
  }
  const { key_name: name, key_secret: secret } = rfc2136;
  const algorithm: TsigAlgorithm = rfc2136.algorithm;
  return {
    method: {
      type: 'rfc2136',
      host: server?.host ?? '',
      port: server?.port ?? 53,
      zone: rfc2136.zone ?? null,
      key: name === undefined || secret === undefined ? null : { name, algorithm, secret },
      ttlSeconds: Math.round(rfc2136.ttl / 1000),
    },
    propagationTimeoutMs,
  };
}

/** `host`, `host:port`, `[v6]` or `[v6]:port`. */
function parseServer(text: string, byDefault: number): { readonly host: string; readonly port: number } | null {
  if (net.isIP(text) !== 0) return { host: text, port: byDefault };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? byDefault);
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port };
}

function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text);
}

function directoryUrl(ca: string): string | null {
  if (ca === 'letsencrypt') return LETSENCRYPT;
  if (ca === 'letsencrypt-staging') return LETSENCRYPT_STAGING;
  return URL.canParse(ca) && new URL(ca).protocol === 'https:' ? ca : null;
}
