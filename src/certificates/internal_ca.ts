/**
 * A CA of our own, for names no public one vouches for: its root is made once and kept, its certificates are as short
 * as public ones. DER is built with node-forge; keys and signatures are node:crypto's.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import net from 'node:net';
import os from 'node:os';
import forge from 'node-forge';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import type { CertificateStore } from './store.ts';

const DAY = 86_400_000;
const ROOT_LIFE_MS = 3_650 * DAY;
const LEAF_LIFE_MS = 90 * DAY;
/** Clocks differ. */
const BACKDATE_MS = 5 * 60_000;

export const ROOT_FILE = 'internal/root.pem';
const KEY_FILE = 'internal/root.key';

const { asn1 } = forge;
const { Class, Type } = asn1;
type Asn1 = forge.asn1.Asn1;

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  subjectAltName: '2.5.29.17',
};

export interface InternalCa {
  /** A new key and certificate for these DNS names and addresses. */
  issue(names: readonly string[], now: number): Certificate;
}

/** Opens the CA kept in `store`, or makes it. */
export function openInternalCa(store: CertificateStore, now: number): InternalCa {
  const root = loadRoot(store, now) ?? createRoot(store, now);
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
function loadRoot(store: CertificateStore, now: number): Root | null {
  const certificate = store.readFile(ROOT_FILE);
  const keyPem = store.readFile(KEY_FILE);
  if (certificate === null || keyPem === null) return null;
  const { notAfter } = parseCertificate(certificate, keyPem);
  if (notAfter - now < LEAF_LIFE_MS) return null;
  const key = createPrivateKey(keyPem);
  return { certificate, key, publicKey: createPublicKey(key), name: commonNameOf(certificate), notAfter };
}

function createRoot(store: CertificateStore, now: number): Root {
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
  store.writeFile(KEY_FILE, String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
  store.writeFile(ROOT_FILE, certificate);
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
    asn1.fromDer(spki(fields.publicKey).toString('binary')),
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

function generalName(name: string): Asn1 {
  return net.isIP(name) === 0 ? implicit(2, name) : implicit(7, addressBytes(name).toString('binary'));
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Buffer {
  if (net.isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  // The URL parser writes any IPv6 address as hexadecimal groups with at most one `::`.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const left = groups(head);
  const right = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** RFC 5280 section 4.1.2.2: positive and not zero; 127 random bits. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('binary');
}

function spki(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' });
}

/** RFC 5280 section 4.2.1.2 (1): SHA-1 of the key's bits, which end the structure; for P-256 an uncompressed point. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1').update(spki(key).subarray(-65)).digest();
}

function commonNameOf(pem: string): string {
  return new X509Certificate(pem).subject.replace(/^CN=/, '');
}

function distinguishedName(commonName: string | null): Asn1 {
  if (commonName === null) return sequence();
  const value = asn1.create(Class.UNIVERSAL, Type.UTF8, false, forge.util.encodeUtf8(commonName));
  return sequence(asn1.create(Class.UNIVERSAL, Type.SET, true, [sequence(oid(OID.commonName), value)]));
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const content = octetString(toDer(value));
  return critical ? sequence(oid(id), boolean(true), content) : sequence(oid(id), content);
}

function time(ms: number): Asn1 {
  const date = new Date(ms);
  // RFC 5280 section 4.1.2.5.
  return date.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

function sequence(...items: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items);
}

function oid(id: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes());
}

function integer(bytes: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, bytes);
}

function boolean(value: boolean): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, value ? '\xff' : '\0');
}

function octetString(bytes: Buffer): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes.toString('binary'));
}

function bitString(bytes: Buffer, unusedBits = 0): Asn1 {
  return asn1.create(
    Class.UNIVERSAL,
    Type.BITSTRING,
    false,
    String.fromCharCode(unusedBits) + bytes.toString('binary'),
  );
}

function explicit(tag: number, item: Asn1): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [item]);
}

function implicit(tag: number, bytes: string): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, bytes);
}

function toDer(item: Asn1): Buffer {
  return Buffer.from(asn1.toDer(item).getBytes(), 'binary');
}

function toPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
