/**
 * How far an order is, kept before each step that cannot be undone, so that whoever comes after a crash goes on with it
 * instead of ordering again. The private key is kept before anything is asked for.
 */
import { fieldsOf } from './transport.ts';
import type { KeyType } from '../../config/config.ts';
import type { Storage } from '../storage/storage.ts';
import { issuerSlug, safeName } from '../storage/keys.ts';

/** `intent`: a key is there. `ordered`: the CA has made the order. `finalizing`: the CA may have seen the key. */
export type Step = 'intent' | 'ordered' | 'finalizing';

export interface JournalEntry {
  readonly step: Step;
  /** Directory URL. */
  readonly ca: string;
  readonly accountUrl: string;
  /** Sorted. */
  readonly names: readonly string[];
  readonly keyType: KeyType;
  readonly profile: string | null;
  readonly replaces: string | null;
  /** null with `intent` only. */
  readonly orderUrl: string | null;
  /** How often what the CA gave was not what was ordered. */
  readonly rejected: number;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface Journal {
  read(): Promise<{ readonly entry: JournalEntry; readonly key: string } | null>;
  /** Before the first entry. */
  keepKey(pem: string): Promise<void>;
  write(entry: JournalEntry): Promise<void>;
  remove(): Promise<void>;
  /** Which challenge showed control over each name the last time. */
  readSolved(): Promise<Readonly<Record<string, string>>>;
  writeSolved(solved: Readonly<Record<string, string>>): Promise<void>;
}

export function openJournal(storage: Storage, ca: string, name: string): Journal {
  const at = orderKey(ca, name);
  return {
    read: async () => {
      const entry = parseEntry(await storage.read(`${at}.json`));
      const key = entry === null ? null : await storage.read(`${at}.key.pem`);
      return entry === null || key === null ? null : { entry, key };
    },
    keepKey: (pem) => storage.write(`${at}.key.pem`, pem),
    write: (entry) => storage.write(`${at}.json`, `${JSON.stringify(entry)}\n`),
    remove: async () => {
      // The entry first: a key alone means nothing.
      await storage.remove(`${at}.json`);
      await storage.remove(`${at}.key.pem`);
    },
    readSolved: async () => {
      const fields = fieldsOf(parse(await storage.read(`${at}.solved.json`)));
      return Object.fromEntries(Object.entries(fields).map(([host, type]) => [host, String(type)]));
    },
    writeSolved: (solved) => storage.write(`${at}.solved.json`, `${JSON.stringify(solved)}\n`),
  };
}

/** Where the order of a certificate is kept, and the name of its lock. */
export function orderKey(ca: string, name: string): string {
  return `orders/${issuerSlug(ca)}/${safeName(name)}`;
}

function parse(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

/** null for what nobody could go on with. */
function parseEntry(text: string | null): JournalEntry | null {
  const fields = fieldsOf(parse(text));
  const { step, ca, accountUrl, names, keyType, profile, replaces, orderUrl, rejected, startedAt } = fields;
  if (step !== 'intent' && step !== 'ordered' && step !== 'finalizing') return null;
  if (typeof ca !== 'string' || typeof accountUrl !== 'string' || typeof startedAt !== 'number') return null;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) return null;
  if (keyType !== 'p256' && keyType !== 'p384' && keyType !== 'rsa2048' && keyType !== 'rsa4096') return null;
  const text_ = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  if (step !== 'intent' && typeof orderUrl !== 'string') return null;
  return {
    step,
    ca,
    accountUrl,
    names,
    keyType,
    profile: text_(profile),
    replaces: text_(replaces),
    orderUrl: text_(orderUrl),
    rejected: typeof rejected === 'number' ? rejected : 0,
    startedAt,
  };
}
