/** Certificates into the store and out of it, by hand. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import path from 'node:path';
import { CertificateError, splitChain } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';
import { covers } from '../renewal.ts';
import { writeWhole } from '../storage/files.ts';
import { IMPORTED } from '../storage/keys.ts';
import type { CertificateStore, Stored } from '../store.ts';

const LOCK_TIMEOUT_MS = 30_000;

/** A site whose certificate a CA is asked for. */
export interface Site {
  readonly name: string;
  readonly hosts: readonly string[];
}

/**
 * Keeps `certificate` for each of the sites it covers wholly, else by its own first name, and returns those names. They
 * serve it until it is due; then their CA is asked for another. It counts as none of that CA's, whoever issued it: its
 * account is not ours, so nothing we order replaces it there.
 */
export async function importCertificate(
  store: CertificateStore,
  certificate: Certificate,
  sites: readonly Site[],
  now: number,
): Promise<readonly string[]> {
  if (certificate.notAfter <= now) {
    throw new CertificateError('not_valid_now', `it expired on ${new Date(certificate.notAfter).toISOString()}`);
  }
  const isCovered = (host: string): boolean => certificate.names.some((name) => covers(name, host));
  const served = sites.filter(({ hosts }) => hosts.every(isCovered)).map(({ name }) => name);
  const names = served.length > 0 ? served : certificate.names.slice(0, 1);
  await store.storage.withLock(IMPORTED, AbortSignal.timeout(LOCK_TIMEOUT_MS), async (lock) => {
    for (const name of names) {
      const { certificate: kept } = await store.load(IMPORTED, name, now);
      // Twice the same is once.
      if (kept?.chain === certificate.chain && kept.key === certificate.key) continue;
      await lock.assertHeld();
      await store.save(IMPORTED, name, certificate, null);
    }
  });
  return names;
}

/** What is kept for `name`, a site's or a host's; null when nothing is. Of several the one that lasts longest. */
export async function findStored(store: CertificateStore, name: string): Promise<Stored | null> {
  const all = await store.list();
  const called = all.filter((it) => it.name === name);
  const covering = all.filter((it) => it.certificate?.names.some((has) => covers(has, name)));
  const best = (some: readonly Stored[]): Stored | null =>
    some.toSorted((a, b) => (b.certificate?.notAfter ?? 0) - (a.certificate?.notAfter ?? 0))[0] ?? null;
  return best(called) ?? best(covering);
}

/** Two files, 0600, by the names certbot has for them; returns their paths. */
export async function exportFiles({ chain, key }: Certificate, folder: string): Promise<readonly string[]> {
  const root = path.resolve(folder);
  const files = { 'privkey.pem': key, 'fullchain.pem': chain };
  for (const [name, text] of Object.entries(files)) await writeWhole(root, path.join(root, name), text);
  return Object.keys(files).map((name) => path.join(root, name));
}

/** One file, 0600. */
export async function exportPkcs12({ chain, key }: Certificate, file: string, passphrase: string): Promise<string> {
  const target = path.resolve(file);
  const { writePkcs12 } = await import('./pkcs12.ts');
  const certificates = splitChain(chain).map((pem) => new X509Certificate(pem));
  await writeWhole(path.dirname(target), target, writePkcs12(createPrivateKey(key), certificates, passphrase));
  return target;
}
