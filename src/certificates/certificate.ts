/** A certificate with its key, checked once, as a value. */
import { createPrivateKey, X509Certificate } from 'node:crypto';

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
  readonly code: 'unreadable' | 'key_mismatch' | 'incomplete_chain';
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

function splitChain(chain: string): string[] {
  return chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

/** Node's rendering of the extension: `DNS:a.example, IP Address:10.0.0.1`. */
function namesOf(subjectAltName: string): string[] {
  return subjectAltName.split(', ').flatMap((entry) => {
    const name = /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1];
    return name === undefined ? [] : [name.toLowerCase()];
  });
}
