/**
 * A CA of our own, for names no public one vouches for: its root is made once and kept, its certificates are as short
 * as public ones. DER is built with node-forge; keys and signatures are node:crypto's.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import os from 'node:os';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import {
  OID,
  bitString,
  boolean,
  distinguishedName,
  explicit,
  extension,
  generalName,
  implicit,
  integer,
  octetString,
  oid,
  sequence,
  serialNumber,
  spki,
  time,
  toDer,
  toPem,
} from './der.ts';
import type { Asn1 } from './der.ts';
import type { Storage } from './storage/storage.ts';

const DAY = 86_400_000;
const ROOT_LIFE_MS = 3_650 * DAY;
const LEAF_LIFE_MS = 90 * DAY;
/** Clocks differ. */
const BACKDATE_MS = 5 * 60_000;

export const ROOT_FILE = 'internal/root.pem';
const KEY_FILE = 'internal/root.key';
/** Two instances that begin at once make one root. */
const LOCK_TIMEOUT_MS = 30_000;

export interface InternalCa {
  /** A new key and certificate for these DNS names and addresses. */
  issue(names: readonly string[], now: number): Certificate;
}

/** Opens the CA kept in `storage`, or makes it. */
export async function openInternalCa(storage: Storage, now: number): Promise<InternalCa> {
  const root =
    (await loadRoot(storage, now)) ??
    (await storage.withLock(
      'internal',
      AbortSignal.timeout(LOCK_TIMEOUT_MS),
      async () => (await loadRoot(storage, now)) ?? (await createRoot(storage, now)),
    ));
  return {
    issue: (names, at) => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const der = certificateDer({
        subject: null,
        issuer: root.name,
        publicKey,
        signer: root.key,
        signerPublicKey: root.publicKey,
        notBefore: at - BACKDATE_MS,
        notAfter: Math.min(at + LEAF_LIFE_MS, root.notAfter),
        names,
      });
      const key = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
      return parseCertificate(`${toPem(der)}${root.certificate}`, key);
    },
  };
}

interface Root {
  readonly certificate: string;
  readonly key: KeyObject;
  readonly publicKey: KeyObject;
  readonly name: string;
  readonly notAfter: number;
}

/** Null when there is none, or none that would outlive what it issues: then a new one is made. */
async function loadRoot(storage: Storage, now: number): Promise<Root | null> {
  const certificate = await storage.read(ROOT_FILE);
  const keyPem = await storage.read(KEY_FILE);
  if (certificate === null || keyPem === null) return null;
  const { notAfter } = parseCertificate(certificate, keyPem);
  if (notAfter - now < LEAF_LIFE_MS) return null;
  const key = createPrivateKey(keyPem);
  return { certificate, key, publicKey: createPublicKey(key), name: commonNameOf(certificate), notAfter };
}

async function createRoot(storage: Storage, now: number): Promise<Root> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  // Told apart by machine and time: a browser lists them by this name alone.
  const name = `proxy internal CA ${os.hostname().replace(/[^A-Za-z0-9.-]/g, '')} ${new Date(now).toISOString().slice(0, 10)}`;
  const notAfter = now + ROOT_LIFE_MS;
  const der = certificateDer({
    subject: name,
    issuer: name,
    publicKey,
    signer: privateKey,
    signerPublicKey: publicKey,
    notBefore: now - BACKDATE_MS,
    notAfter,
    names: [],
  });
  const certificate = toPem(der);
  // A crash between any two of these leaves no root, never one beside another's key.
  await storage.remove(ROOT_FILE);
  await storage.write(KEY_FILE, String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
  await storage.write(ROOT_FILE, certificate);
  return { certificate, key: privateKey, publicKey, name, notAfter };
}

interface CertificateFields {
  /** null: a leaf, known by its alternative names alone (RFC 5280 section 4.1.2.6). */
  readonly subject: string | null;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly signerPublicKey: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly names: readonly string[];
}

function certificateDer(fields: CertificateFields): Buffer {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const tbs = sequence(
    explicit(0, integer('\x02')),
    integer(serialNumber()),
    algorithm,
    distinguishedName(fields.issuer),
    sequence(time(fields.notBefore), time(fields.notAfter)),
    distinguishedName(fields.subject),
    spki(fields.publicKey),
    explicit(3, sequence(...extensions(fields))),
  );
  const signature = sign('sha256', toDer(tbs), fields.signer);
  return toDer(sequence(tbs, algorithm, bitString(signature)));
}

function extensions({ subject, publicKey, signerPublicKey, names }: CertificateFields): Asn1[] {
  const isRoot = subject !== null;
  const usage = isRoot
    ? // keyCertSign, cRLSign
      bitString(Buffer.from([0x06]), 1)
    : // digitalSignature
      bitString(Buffer.from([0x80]), 7);
  const out = [
    // A root of depth 0: it signs leaves and nothing else.
    extension(OID.basicConstraints, true, isRoot ? sequence(boolean(true), integer('\0')) : sequence()),
    extension(OID.keyUsage, true, usage),
    extension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey))),
  ];
  if (isRoot) return out;
  return [
    ...out,
    extension(
      OID.authorityKeyIdentifier,
      false,
      sequence(implicit(0, keyIdentifier(signerPublicKey).toString('binary'))),
    ),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth))),
    // Critical where the subject is empty.
    extension(OID.subjectAltName, true, sequence(...names.map(generalName))),
  ];
}

/** RFC 5280 section 4.2.1.2 (1): SHA-1 of the key's bits, which end the structure; for P-256 an uncompressed point. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(toDer(spki(key)).subarray(-65))
    .digest();
}

function commonNameOf(pem: string): string {
  return new X509Certificate(pem).subject.replace(/^CN=/, '');
}
