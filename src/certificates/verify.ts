/** What a CA gave is what was ordered, and every client can use it: asked before it takes the place of one that works. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { CertificateError, splitChain } from './certificate.ts';
import type { Certificate } from './certificate.ts';

/** CAs date certificates back an hour, for clocks like ours. */
const SKEW_MS = 3_600_000;

export interface Ordered {
  /** DNS names and addresses, in any order. */
  readonly names: readonly string[];
  /** PEM of the key it was ordered for. */
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** PEM of roots that may have issued it without one in between; public CAs never do. */
  readonly roots?: readonly string[];
}

/** Throws a `CertificateError` that says what is wrong. */
export function verifyIssued(certificate: Certificate, { names, key, now, roots = [] }: Ordered): void {
  const [leaf, ...issuers] = splitChain(certificate.chain).map((pem) => new X509Certificate(pem));
  if (leaf === undefined) throw new CertificateError('unreadable', 'there is no certificate in the answer');
  assertNames(certificate.names, names);
  if (!leaf.checkPrivateKey(createPrivateKey(key)) || !leaf.checkPrivateKey(createPrivateKey(certificate.key))) {
    throw new CertificateError('key_mismatch', 'the certificate is for another key than the one it was ordered for');
  }
  assertDates(certificate, now);
  assertChain(leaf, issuers, roots);
  try {
    tls.createSecureContext({ cert: certificate.chain, key: certificate.key });
  } catch (error) {
    throw new CertificateError('unusable', 'no TLS server can be made with the certificate', error);
  }
}

function assertNames(has: readonly string[], wanted: readonly string[]): void {
  const missing = wanted.filter((name) => !has.includes(name));
  const extra = has.filter((name) => !wanted.includes(name));
  if (missing.length === 0 && extra.length === 0) return;
  const parts = [
    ...(missing.length > 0 ? [`it lacks ${missing.join(', ')}`] : []),
    ...(extra.length > 0 ? [`nobody asked for ${extra.join(', ')}`] : []),
  ];
  throw new CertificateError(
    'wrong_names',
    `the certificate is for other names than those ordered: ${parts.join('; ')}`,
  );
}

function assertDates({ notBefore, notAfter }: Certificate, now: number): void {
  const [from, to, at] = [notBefore, notAfter, now].map((ms) => new Date(ms).toISOString());
  if (notBefore > now + SKEW_MS) {
    throw new CertificateError(
      'not_valid_now',
      `the certificate is valid from ${from}, and here it is ${at}: is the clock right?`,
    );
  }
  if (notAfter <= now) {
    throw new CertificateError(
      'not_valid_now',
      `the certificate was valid until ${to}, and here it is ${at}: is the clock right?`,
    );
  }
}

function assertChain(leaf: X509Certificate, issuers: readonly X509Certificate[], roots: readonly string[]): void {
  let last = leaf;
  for (const issuer of issuers) {
    if (!isIssuedBy(last, issuer)) {
      throw new CertificateError(
        'incomplete_chain',
        `"${subjectOf(last)}" was not issued by "${subjectOf(issuer)}", which follows it`,
      );
    }
    last = issuer;
  }
  const complete =
    issuers.length > 0 || roots.flatMap(splitChain).some((pem) => isIssuedBy(leaf, new X509Certificate(pem)));
  if (!complete) {
    throw new CertificateError(
      'incomplete_chain',
      'the certificate came alone: clients need the one that issued it as well',
    );
  }
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function subjectOf({ subject, serialNumber }: X509Certificate): string {
  return subject === undefined || subject === '' ? serialNumber : subject.replaceAll('\n', ', ');
}
