/** Certificates others obtained, read from their files and made one of ours, or refused with the reason. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { CertificateError, parseCertificate, splitChain } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';

/** PEM files; they may be one. The passphrase is the key's, null when it has none. */
export function readPemFiles(certificateFile: string, keyFile: string, passphrase: string | null): Certificate {
  const text = read(certificateFile);
  let certificates: X509Certificate[];
  try {
    certificates = splitChain(text).map((pem) => new X509Certificate(pem));
  } catch (error) {
    throw new CertificateError('unreadable', `${certificateFile}: the certificate cannot be read`, error);
  }
  const pem = read(keyFile);
  let key: KeyObject;
  try {
    key = createPrivateKey(passphrase === null ? pem : { key: pem, passphrase });
  } catch (error) {
    const closed = /ENCRYPTED/.test(pem);
    const what = !closed ? 'cannot be read' : passphrase === null ? 'has a passphrase' : 'has another passphrase';
    throw new CertificateError('unreadable', `${keyFile}: the private key ${what}`, error);
  }
  return assemble([key], certificates);
}

export async function readPkcs12File(file: string, passphrase: string | null): Promise<Certificate> {
  const { readPkcs12 } = await import('./pkcs12.ts');
  const { keys, certificates } = readPkcs12(readFileSync(file), passphrase);
  return assemble(keys, certificates);
}

/** One of certbot's certificates. */
export interface Lineage {
  readonly name: string;
  readonly folder: string;
}

/** `folder`: certbot's own (`/etc/letsencrypt`), its `live`, or one certificate's in that. */
export function findLineages(folder: string): readonly Lineage[] {
  if (isLineage(folder)) return [{ name: path.basename(folder), folder }];
  const live = readdirSync(folder).includes('live') ? path.join(folder, 'live') : folder;
  return readdirSync(live, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && isLineage(path.join(live, entry.name)))
    .map(({ name }) => ({ name, folder: path.join(live, name) }))
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

export function readLineage({ folder }: Lineage): Certificate {
  return readPemFiles(path.join(folder, 'fullchain.pem'), path.join(folder, 'privkey.pem'), null);
}

function isLineage(folder: string): boolean {
  // The links count, wherever they lead: one that leads nowhere is a problem to tell of.
  return readdirSync(folder).includes('privkey.pem');
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CertificateError('unreadable', `${file} cannot be read`, error);
  }
}

/** The certificate one of the keys is for, followed by whoever issued it, as far as they are there. */
function assemble(keys: readonly KeyObject[], certificates: readonly X509Certificate[]): Certificate {
  if (certificates.length === 0) throw new CertificateError('unreadable', 'there is no certificate in the file');
  if (keys.length === 0) throw new CertificateError('unreadable', 'there is no private key in the file');
  for (const key of keys) {
    const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key));
    if (leaf === undefined) continue;
    const chain = chainOf(leaf, certificates).map((certificate) => certificate.toString());
    return checked(parseCertificate(chain.join(''), String(key.export({ type: 'pkcs8', format: 'pem' }))));
  }
  throw new CertificateError('key_mismatch', 'the private key is of none of the certificates');
}

function chainOf(leaf: X509Certificate, certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const chain = [leaf];
  for (let last: X509Certificate | undefined = leaf; last !== undefined;) {
    const one: X509Certificate = last;
    last = certificates.find((it) => !chain.includes(it) && one.checkIssued(it) && one.verify(it.publicKey));
    if (last !== undefined) chain.push(last);
  }
  return chain;
}

function checked(certificate: Certificate): Certificate {
  if (certificate.names.length === 0) {
    throw new CertificateError('wrong_names', 'the certificate names no hosts (it has no subjectAltName)');
  }
  try {
    tls.createSecureContext({ cert: certificate.chain, key: certificate.key });
  } catch (error) {
    throw new CertificateError('unusable', 'no TLS server can be made with the certificate', error);
  }
  return certificate;
}

/** Whether clients have to find the issuer by themselves, which many do not. */
export function lacksIssuer({ chain }: Certificate): boolean {
  const [leaf, ...issuers] = splitChain(chain).map((pem) => new X509Certificate(pem));
  return leaf !== undefined && issuers.length === 0 && !leaf.checkIssued(leaf);
}
