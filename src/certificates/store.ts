/**
 * What is kept of certificates and accounts. A certificate and its key are written as one generation and become current
 * by one rename: no reader ever sees half of a change, and the generation before stays.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { sleep } from '../lifecycle.ts';
import { lockFile } from '../process_lock.ts';

const KEPT_GENERATIONS = 3;
const LOCK_POLL_MS = 100;

export class StorageError extends Error {}

export interface Attempts {
  /** In a row, since the last success. */
  readonly failures: number;
  /** Milliseconds since the epoch. */
  readonly lastAttemptAt: number;
  readonly error: string;
  readonly notBeforeByCa: number | null;
}

export interface Loaded {
  readonly certificate: Certificate | null;
  /** What was found damaged on the way. */
  readonly problems: readonly string[];
}

export interface CertificateStore {
  load(issuer: string, name: string): Loaded;
  save(issuer: string, name: string, certificate: Certificate): void;
  /** Failures outlive a restart: else a crash loop would spend the CA's patience. */
  loadAttempts(issuer: string, name: string): Attempts | null;
  saveAttempts(issuer: string, name: string, attempts: Attempts | null): void;
  /** PEM. */
  loadAccountKey(issuer: string): string | null;
  saveAccountKey(issuer: string, key: string): void;
  /** A file of the store's own, 0600, by its path under the root. */
  readFile(relative: string): string | null;
  writeFile(relative: string, content: string): void;
  /** Runs while no other process orders; waits for one that does. */
  withLock<T>(run: () => Promise<T>): Promise<T>;
  /** Throws a `StorageError` when nothing could be kept. */
  checkWritable(): void;
}

/** A folder name for a CA's directory URL. */
export function issuerSlug(ca: string): string {
  const { host, pathname } = new URL(ca);
  return `${host}${pathname}`.replace(/[^A-Za-z0-9.-]+/g, '-').replace(/^-|-$/g, '');
}

export function createCertificateStore(root: string): CertificateStore {
  const folderOf = (issuer: string, name: string): string =>
    path.join(root, 'certificates', safe(issuer), safe(name.replace(/^\*\./, '_wildcard.')));

  const store: CertificateStore = {
    load: (issuer, name) => {
      const folder = folderOf(issuer, name);
      const problems: string[] = [];
      for (const generation of candidates(folder)) {
        const at = path.join(folder, generation);
        try {
          const chain = readFileSync(path.join(at, 'chain.pem'), 'utf8');
          const key = readFileSync(path.join(at, 'key.pem'), 'utf8');
          return { certificate: parseCertificate(chain, key), problems };
        } catch (error) {
          problems.push(`${at}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
      return { certificate: null, problems };
    },
    save: (issuer, name, certificate) =>
      guarded(root, () => {
        const folder = folderOf(issuer, name);
        makeFolder(folder);
        const generations = generationsIn(folder);
        const generation = `g-${(generations[0] ?? 0) + 1}`;
        const at = path.join(folder, generation);
        makeFolder(at);
        writeDurably(path.join(at, 'key.pem'), certificate.key);
        writeDurably(path.join(at, 'chain.pem'), certificate.chain);
        syncFolder(at);
        const link = path.join(folder, '.current');
        rmSync(link, { force: true });
        symlinkSync(generation, link);
        renameSync(link, path.join(folder, 'current'));
        syncFolder(folder);
        for (const old of generations.slice(KEPT_GENERATIONS - 1)) {
          rmSync(path.join(folder, `g-${old}`), { recursive: true, force: true });
        }
      }),
    loadAttempts: (issuer, name) => parseAttempts(read(path.join(folderOf(issuer, name), 'attempts.json'))),
    saveAttempts: (issuer, name, attempts) =>
      guarded(root, () => {
        const folder = folderOf(issuer, name);
        const file = path.join(folder, 'attempts.json');
        if (attempts === null) return rmSync(file, { force: true });
        makeFolder(folder);
        replaceFile(file, `${JSON.stringify(attempts)}\n`);
      }),
    loadAccountKey: (issuer) => read(path.join(root, 'accounts', safe(issuer), 'key.pem')),
    saveAccountKey: (issuer, key) => store.writeFile(path.join('accounts', safe(issuer), 'key.pem'), key),
    readFile: (relative) => read(path.join(root, relative)),
    writeFile: (relative, content) =>
      guarded(root, () => {
        const file = path.join(root, relative);
        makeFolder(path.dirname(file));
        replaceFile(file, content);
      }),
    withLock: async (run) => {
      const file = path.join(root, 'order.lock');
      guarded(root, () => makeFolder(root));
      for (;;) {
        const lock = guarded(root, () => lockFile(file));
        if (!lock.ok) {
          await sleep(LOCK_POLL_MS);
          continue;
        }
        try {
          return await run();
        } finally {
          lock.release();
        }
      }
    },
    checkWritable: () =>
      guarded(root, () => {
        makeFolder(root);
        const probe = path.join(root, `.probe.${process.pid}`);
        writeFileSync(probe, '', { mode: 0o600 });
        rmSync(probe);
      }),
  };
  return store;
}

/** Names of hosts and CAs become folders; nothing else may. */
function safe(name: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._:-]*$/.test(name)) throw new StorageError(`"${name}" cannot be a folder's name`);
  return name;
}

function guarded<T>(root: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof StorageError) throw error;
    throw new StorageError(`the state folder ${root} cannot be written; see storage.root`, { cause: error });
  }
}

/** The current generation first, then the others, newest first. */
function candidates(folder: string): string[] {
  const names = generationsIn(folder).map((number) => `g-${number}`);
  let current: string | null = null;
  try {
    current = readlinkSync(path.join(folder, 'current'));
  } catch {
    // Nothing became current yet.
  }
  return current === null ? names : [current, ...names.filter((name) => name !== current)];
}

/** Their numbers, newest first. */
function generationsIn(folder: string): number[] {
  try {
    return readdirSync(folder)
      .flatMap((name) => (/^g-\d+$/.test(name) ? Number(name.slice(2)) : []))
      .toSorted((a, b) => b - a);
  } catch {
    return [];
  }
}

function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}

function replaceFile(file: string, content: string): void {
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  writeDurably(draft, content);
  renameSync(draft, file);
  syncFolder(path.dirname(file));
}

function writeDurably(file: string, content: string): void {
  const descriptor = openSync(file, 'w', 0o600);
  try {
    writeFileSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  // A umask only takes away; a file that was there keeps its own mode.
  chmodSync(file, 0o600);
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function parseAttempts(text: string | null): Attempts | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return null;
    const { failures, lastAttemptAt, error, notBeforeByCa } = value as Record<string, unknown>;
    if (typeof failures !== 'number' || typeof lastAttemptAt !== 'number' || typeof error !== 'string') return null;
    return { failures, lastAttemptAt, error, notBeforeByCa: typeof notBeforeByCa === 'number' ? notBeforeByCa : null };
  } catch {
    return null;
  }
}
