/** A certificate with its key, checked once, as a value. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import net from 'node:net';
import type { KeyType } from '../config/config.ts';

export interface Certificate {
  /** DNS names and addresses it is valid for. */
  readonly names: readonly string[];
  /** PEM, leaf first. */
  readonly chain: string;
  /** PEM, PKCS#8. */
  readonly key: string;
  /** Hexadecimal. */
  readonly serial: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export class CertificateError extends Error {
  readonly code: 'unreadable' | 'key_mismatch' | 'incomplete_chain' | 'wrong_names' | 'not_valid_now' | 'unusable';
  constructor(code: CertificateError['code'], message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Throws a `CertificateError` for what no handshake would succeed with. */
export function parseCertificate(chain: string, key: string): Certificate {
  let certificates: X509Certificate[];
  try {
    certificates = splitChain(chain).map((pem) => new X509Certificate(pem));
  } catch (error) {
    throw new CertificateError('unreadable', 'the certificate cannot be read', error);
  }
  const [leaf] = certificates;
  if (leaf === undefined) throw new CertificateError('unreadable', 'there is no certificate in the file');
  let matches: boolean;
  try {
    matches = leaf.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw new CertificateError('unreadable', 'the private key cannot be read', error);
  }
  if (!matches) throw new CertificateError('key_mismatch', 'the private key is not the certificate’s');
  certificates.forEach((certificate, i) => {
    const issuer = certificates[i + 1];
    if (issuer !== undefined && !certificate.checkIssued(issuer)) {
      throw new CertificateError(
        'incomplete_chain',
        'the chain is not in order: each certificate’s issuer must follow it',
      );
    }
  });
  return {
    names: namesOf(leaf.subjectAltName ?? ''),
    chain,
    key,
    serial: leaf.serialNumber,
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
  };
}

/** null: of a kind we do not make. `key`: PEM. */
export function keyTypeOf(key: string): KeyType | null {
  const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(key);
  if (asymmetricKeyType === 'ec') {
    const curves: Readonly<Record<string, KeyType>> = { prime256v1: 'p256', secp384r1: 'p384' };
    return curves[asymmetricKeyDetails?.namedCurve ?? ''] ?? null;
  }
  if (asymmetricKeyType !== 'rsa') return null;
  const sizes: Readonly<Record<number, KeyType>> = { 2048: 'rsa2048', 4096: 'rsa4096' };
  return sizes[asymmetricKeyDetails?.modulusLength ?? 0] ?? null;
}

/** Each certificate's PEM, leaf first. Throws when one of them is cut off. */
export function splitChain(chain: string): string[] {
  const whole = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (whole.length !== chain.split('-----BEGIN CERTIFICATE-----').length - 1)
    throw new Error('a certificate is cut off');
  return whole;
}

/** Node's rendering of the extension: `DNS:a.example, IP Address:10.0.0.1`. */
function namesOf(subjectAltName: string): string[] {
  return subjectAltName.split(', ').flatMap((entry) => {
    const name = /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1];
    if (name === undefined) return [];
    // Eight groups, as Node renders them; everybody else writes `::`.
    return [net.isIPv6(name) ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name.toLowerCase()];
  });
}
