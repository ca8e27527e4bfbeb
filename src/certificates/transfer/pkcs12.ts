/**
 * Certificate and key in one file with a passphrase, as Windows and Java keep them (RFC 7292). Node takes such a file for
 * a server but gives nothing of it back, and OpenSSL 3 no longer opens those with RC2; so node-forge takes them apart.
 * It knows no elliptic curves: keys and certificates go through it as the ASN.1 they are.
 */
import { createHmac, createPrivateKey, hash, randomBytes, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import forge from 'node-forge';
import { CertificateError } from '../certificate.ts';
import { explicit, integer, octetString, oid, sequence, toDer } from '../der.ts';
import type { Asn1 } from '../der.ts';

const { asn1, pkcs12, pki } = forge;
const { Class, Type } = asn1;
/** As OpenSSL does; whoever keeps the file for years should choose a long passphrase. */
const ITERATIONS = 10_000;

const OID = {
  data: '1.2.840.113549.1.7.1',
  shroudedKey: '1.2.840.113549.1.12.10.1.2',
  key: '1.2.840.113549.1.12.10.1.1',
  certificate: '1.2.840.113549.1.12.10.1.3',
  x509: '1.2.840.113549.1.9.22.1',
  localKeyId: '1.2.840.113549.1.9.21',
  sha256: '2.16.840.1.101.3.4.2.1',
};

export interface Pkcs12 {
  readonly keys: readonly KeyObject[];
  /** In no order. */
  readonly certificates: readonly X509Certificate[];
}

/** Throws a `CertificateError` for what is no such file, or has another passphrase (null: none was given). */
export function readPkcs12(data: Buffer, passphrase: string | null): Pkcs12 {
  const pfx = open(data, passphrase);
  const bags = pfx.safeContents.flatMap(({ safeBags }) => safeBags);
  try {
    return {
      keys: bags.filter(({ type }) => type === OID.shroudedKey || type === OID.key).map(keyOf),
      certificates: bags.filter(({ type }) => type === OID.certificate).map(certificateOf),
    };
  } catch (error) {
    throw new CertificateError('unreadable', 'what is in the PKCS#12 file cannot be read', error);
  }
}

function open(data: Buffer, passphrase: string | null): forge.pkcs12.Pkcs12Pfx {
  let content: Asn1;
  try {
    content = asn1.fromDer(data.toString('binary'));
  } catch (error) {
    throw new CertificateError('unreadable', 'the file is no PKCS#12 file', error);
  }
  // Some programs mean an empty passphrase by none, others an absent one.
  const attempts = passphrase === null || passphrase === '' ? ['', undefined] : [passphrase];
  let failure: unknown;
  for (const attempt of attempts) {
    try {
      return pkcs12.pkcs12FromAsn1(content, false, attempt);
    } catch (error) {
      failure = error;
      if (isMacFailure(error) || passphrase === null) continue;
    }
    try {
      // The MAC's passphrase is UTF-16, that of newer ciphers UTF-8, and node-forge knows one for both: the MAC, which was
      // good, is left out.
      const withoutMac = { ...content, value: content.value.slice(0, 2) };
      return pkcs12.pkcs12FromAsn1(withoutMac, false, Buffer.from(passphrase, 'utf8').toString('latin1'));
    } catch {
      // The first failure tells more.
    }
  }
  const wrong =
    passphrase === null ? 'the PKCS#12 file has a passphrase' : 'the passphrase is not that of the PKCS#12 file';
  throw new CertificateError('unreadable', isMacFailure(failure) ? wrong : 'the PKCS#12 file cannot be read', failure);
}

function isMacFailure(error: unknown): boolean {
  return error instanceof Error && /MAC could not be verified/.test(error.message);
}

function keyOf({ key, asn1: content }: forge.pkcs12.Bag): KeyObject {
  if (key) return createPrivateKey({ key: toDer(pki.privateKeyToAsn1(key)), format: 'der', type: 'pkcs1' });
  return createPrivateKey({ key: toDer(content), format: 'der', type: 'pkcs8' });
}

function certificateOf({ cert, asn1: content }: forge.pkcs12.Bag): X509Certificate {
  return new X509Certificate(toDer(cert ? pki.certificateToAsn1(cert) : content));
}

/** `passphrase`: not empty. AES-256 for the key, which alone is secret, and a MAC with SHA-256 over the whole: what OpenSSL 3 writes by default. */
export function writePkcs12(key: KeyObject, chain: readonly X509Certificate[], passphrase: string): Buffer {
  const shrouded = key.export({ type: 'pkcs8', format: 'der', cipher: 'aes-256-cbc', passphrase });
  const id = hash('sha1', chain[0]?.raw ?? Buffer.alloc(0), 'buffer');
  const keyBag = bag(OID.shroudedKey, asn1.fromDer(shrouded.toString('binary')), id);
  const certificateBags = chain.map((certificate, i) =>
    bag(OID.certificate, sequence(oid(OID.x509), explicit(0, octetString(certificate.raw))), i === 0 ? id : null),
  );
  const safes = toDer(sequence(data(sequence(...certificateBags)), data(sequence(keyBag))));
  return toDer(sequence(integer('\x03'), contentInfo(safes), mac(safes, passphrase)));
}

function bag(type: string, value: Asn1, localKeyId: Buffer | null): Asn1 {
  const parts = [oid(type), explicit(0, value)];
  return sequence(
    ...parts,
    // Tells which of the certificates is the key's.
    ...(localKeyId === null ? [] : [set(sequence(oid(OID.localKeyId), set(octetString(localKeyId))))]),
  );
}

function data(content: Asn1): Asn1 {
  return contentInfo(toDer(content));
}

function contentInfo(content: Buffer): Asn1 {
  return sequence(oid(OID.data), explicit(0, octetString(content)));
}

/** RFC 7292 appendix B: the key for a MAC has the identifier 3. */
function mac(content: Buffer, passphrase: string): Asn1 {
  const salt = randomBytes(16);
  const buffer = forge.util.createBuffer(salt.toString('binary'));
  const key = pkcs12.generateKey(passphrase, buffer, 3, ITERATIONS, 32, forge.md.sha256.create());
  const digest = createHmac('sha256', Buffer.from(key.getBytes(), 'binary')).update(content).digest();
  const algorithm = sequence(oid(OID.sha256), asn1.create(Class.UNIVERSAL, Type.NULL, false, ''));
  const iterations = asn1.integerToDer(ITERATIONS).getBytes();
  return sequence(sequence(algorithm, octetString(digest)), octetString(salt), integer(iterations));
}

function set(...items: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, items);
}
