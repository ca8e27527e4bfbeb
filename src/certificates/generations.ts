/**
 * One certificate as it lies in a storage: generations, each written once, and a pointer to the current one. Only read
 * here, and nothing is trusted: a generation is good when its texts are those that were written, and fit each other.
 */
import { createHash } from 'node:crypto';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { StorageError } from './storage/storage.ts';
import type { Storage } from './storage/storage.ts';
import type { KeyType } from '../config/config.ts';
import { describeError } from '../log.ts';

/** How a certificate was ordered. */
export interface CertificateMeta {
  /** Directory URL. */
  readonly ca: string;
  readonly orderUrl: string | null;
  readonly profile: string | null;
  readonly keyType: KeyType;
  /** RFC 9773 section 4.1. */
  readonly certId: string | null;
  /** Milliseconds since the epoch. */
  readonly obtainedAt: number;
}

export type Generation =
  | { readonly state: 'good'; readonly certificate: Certificate; readonly meta: CertificateMeta | null }
  /** It would serve, but is not what was written. */
  | { readonly state: 'altered'; readonly certificate: Certificate; readonly problem: string }
  | { readonly state: 'damaged'; readonly problem: string }
  /** Its writer was stopped before the end, which the meta data marks. */
  | { readonly state: 'unfinished' }
  /** Nobody can tell now: it could not be read. */
  | { readonly state: 'unreadable'; readonly error: StorageError; readonly problem: string };

/** The three texts of a generation. */
export const PARTS = ['key.pem', 'chain.pem', 'meta.json'] as const;

/** What `meta.json` holds. */
interface MetaFile {
  /** The certificate's, as the key may be shortened. */
  readonly name: string | null;
  /** Hexadecimal SHA-256 of the two other texts. */
  readonly sha256: { readonly chain: string; readonly key: string } | null;
  readonly meta: CertificateMeta | null;
}

export function formatMeta(name: string, { chain, key }: Certificate, meta: CertificateMeta | null): string {
  return `${JSON.stringify({ name, sha256: { chain: sha256(chain), key: sha256(key) }, meta }, null, 2)}\n`;
}

/** `at`: the generation's key; `current`: whether the pointer names it. */
export async function readGeneration(storage: Storage, at: string, current: boolean): Promise<Generation> {
  let texts: readonly (string | null)[];
  try {
    texts = await Promise.all(PARTS.map((part) => storage.read(`${at}/${part}`)));
  } catch (error) {
    if (error instanceof StorageError) return { state: 'unreadable', error, problem: `${at}: ${error.message}` };
    throw error;
  }
  const [key = null, chain = null, metaText = null] = texts;
  if (metaText === null && !current) return { state: 'unfinished' };
  let certificate: Certificate;
  try {
    if (key === null || chain === null) throw new Error(`${key === null ? 'key.pem' : 'chain.pem'} is missing`);
    certificate = parseCertificate(chain, key);
  } catch (error) {
    return { state: 'damaged', problem: `${at}: ${describeError(error)}` };
  }
  const file = parseMeta(metaText);
  if (file === null || file.sha256 === null) {
    const what = metaText === null ? 'missing' : 'damaged';
    return { state: 'altered', certificate, problem: `${at}: meta.json is ${what}` };
  }
  if (file.sha256.chain !== sha256(chain ?? '') || file.sha256.key !== sha256(key ?? '')) {
    return { state: 'altered', certificate, problem: `${at}: the certificate or the key is not what was written` };
  }
  return { state: 'good', certificate, meta: file.meta };
}

/** null: what a certificate is called is not known. */
export async function readName(storage: Storage, at: string): Promise<string | null> {
  return parseMeta(await storage.read(`${at}/meta.json`))?.name ?? null;
}

function parseMeta(text: string | null): MetaFile | null {
  const value = parseRecord(text);
  if (value === null) return null;
  const { name, sha256, meta } = value;
  const { chain, key } = recordOf(sha256) ?? {};
  return {
    name: typeof name === 'string' ? name : null,
    sha256: typeof chain === 'string' && typeof key === 'string' ? { chain, key } : null,
    meta: parseOrder(recordOf(meta)),
  };
}

function parseOrder(value: Readonly<Record<string, unknown>> | null): CertificateMeta | null {
  if (value === null) return null;
  const { ca, orderUrl, profile, keyType, certId, obtainedAt } = value;
  if (typeof ca !== 'string' || typeof obtainedAt !== 'number') return null;
  if (keyType !== 'p256' && keyType !== 'p384' && keyType !== 'rsa2048' && keyType !== 'rsa4096') return null;
  const text = (it: unknown): string | null => (typeof it === 'string' ? it : null);
  return { ca, orderUrl: text(orderUrl), profile: text(profile), keyType, certId: text(certId), obtainedAt };
}

/** A kept JSON object; null for anything else. */
export function parseRecord(text: string | null): Readonly<Record<string, unknown>> | null {
  if (text === null) return null;
  try {
    return recordOf(JSON.parse(text));
  } catch {
    return null;
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  return value as Readonly<Record<string, unknown>>;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
