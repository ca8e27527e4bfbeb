/** How CAs and certificates are named in keys. */
import { createHash } from 'node:crypto';
import { StorageError } from './storage.ts';

/** Some room is left for endings: `.json`, `.corrupt-…`. */
const MAX_NAME = 200;

/** A word for a CA's directory URL. */
export function issuerSlug(ca: string): string {
  const { host, pathname } = new URL(ca);
  return `${host}${pathname}`.replace(/[^A-Za-z0-9.-]+/g, '-').replace(/^-|-$/g, '');
}

/** A word for what a certificate is called: a DNS name, also `*.…`, or an address. */
export function safeName(name: string): string {
  const word = name.replace(/^\*\./, '_wildcard.');
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._:-]*$/.test(word)) throw new StorageError(`"${name}" cannot be a folder's name`);
  if (word.length <= MAX_NAME) return word;
  // A DNS name may be longer than a file's with its ending.
  return `${word.slice(0, MAX_NAME - 17)}-${createHash('sha256').update(word).digest('hex').slice(0, 16)}`;
}

/** Stands for a CA where certificates are kept that an operator brought, whoever issued them. */
export const IMPORTED = 'imported';
