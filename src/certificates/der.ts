/** X.509 as DER, by node-forge's ASN.1: the pieces certificates of our own are made of (RFC 5280). */
import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import net from 'node:net';
import forge from 'node-forge';

const { asn1 } = forge;
const { Class, Type } = asn1;
export type Asn1 = forge.asn1.Asn1;

export const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  subjectKeyIdentifier: '2.5.29.14',
  authorityKeyIdentifier: '2.5.29.35',
  /** RFC 8737 section 3. */
  acmeIdentifier: '1.3.6.1.5.5.7.1.31',
} as const;

export function generalName(name: string): Asn1 {
  return net.isIP(name) === 0 ? implicit(2, name) : implicit(7, addressBytes(name).toString('binary'));
}

/** 4 or 16 bytes. */
export function addressBytes(address: string): Buffer {
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
export function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('binary');
}

/** The key as a certificate holds it. */
export function spki(key: KeyObject): Asn1 {
  return asn1.fromDer(key.export({ type: 'spki', format: 'der' }).toString('binary'));
}

export function distinguishedName(commonName: string | null): Asn1 {
  if (commonName === null) return sequence();
  const value = asn1.create(Class.UNIVERSAL, Type.UTF8, false, forge.util.encodeUtf8(commonName));
  return sequence(asn1.create(Class.UNIVERSAL, Type.SET, true, [sequence(oid(OID.commonName), value)]));
}

export function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const content = octetString(toDer(value));
  return critical ? sequence(oid(id), boolean(true), content) : sequence(oid(id), content);
}

export function time(ms: number): Asn1 {
  const date = new Date(ms);
  // RFC 5280 section 4.1.2.5.
  return date.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

export function sequence(...items: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items);
}

export function oid(id: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes());
}

export function integer(bytes: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, bytes);
}

export function boolean(value: boolean): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, value ? '\xff' : '\0');
}

export function octetString(bytes: Buffer): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes.toString('binary'));
}

export function bitString(bytes: Buffer, unusedBits = 0): Asn1 {
  return asn1.create(
    Class.UNIVERSAL,
    Type.BITSTRING,
    false,
    String.fromCharCode(unusedBits) + bytes.toString('binary'),
  );
}

export function explicit(tag: number, item: Asn1): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [item]);
}

export function implicit(tag: number, bytes: string): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, bytes);
}

export function toDer(item: Asn1): Buffer {
  return Buffer.from(asn1.toDer(item).getBytes(), 'binary');
}

export function toPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
