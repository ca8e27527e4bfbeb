/** What a CA calls a certificate when asked about its renewal (RFC 9773 section 4.1). */
import { X509Certificate } from 'node:crypto';

/** DER of 2.5.29.35, authorityKeyIdentifier. */
const AUTHORITY_KEY_IDENTIFIER = Buffer.from('0603551d23', 'hex');

/** `base64url(keyIdentifier).base64url(serial)`; null for a certificate that names no issuer's key. PEM, leaf first. */
export function certificateId(chain: string): string | null {
  const certificate = element(new X509Certificate(chain).raw, 0);
  const fields = children(element(certificate, 0));
  // TBSCertificate: [0] version, serialNumber, …, [3] extensions. Node's own serialNumber drops a leading zero.
  const serial = fields.find(({ tag }) => tag === 0x02)?.content;
  const extensions = fields.find(({ tag }) => tag === 0xa3)?.content;
  if (serial === undefined || extensions === undefined) return null;
  for (const { content } of children(element(extensions, 0))) {
    if (!content.subarray(0, AUTHORITY_KEY_IDENTIFIER.length).equals(AUTHORITY_KEY_IDENTIFIER)) continue;
    const value = children(content).find(({ tag }) => tag === 0x04)?.content;
    const key = value === undefined ? undefined : children(element(value, 0)).find(({ tag }) => tag === 0x80)?.content;
    if (key !== undefined) return `${key.toString('base64url')}.${serial.toString('base64url')}`;
  }
  return null;
}

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** The content of the element at `offset`. */
function element(der: Buffer, offset: number): Buffer {
  return elementAt(der, offset).content;
}

function children(content: Buffer): Element[] {
  const out: Element[] = [];
  for (let at = 0; at < content.length;) {
    const { end, ...child } = elementAt(content, at);
    out.push(child);
    at = end;
  }
  return out;
}

function elementAt(der: Buffer, offset: number): Element & { readonly end: number } {
  const first = der.readUInt8(offset + 1);
  // Long form: the low bits say how many bytes the length has.
  const extra = first < 0x80 ? 0 : first & 0x7f;
  const length = extra === 0 ? first : der.readUIntBE(offset + 2, extra);
  const begin = offset + 2 + extra;
  return { tag: der.readUInt8(offset), content: der.subarray(begin, begin + length), end: begin + length };
}
