/**
 * What is kept of certificates. A certificate and its key are written as one generation and become current by one step:
 * no reader ever sees half of a change, and the generations before stay. What is found damaged is put aside, told of,
 * and the newest good one takes its place.
 */
import type { Certificate } from './certificate.ts';
import { formatMeta, parseRecord, PARTS, readGeneration, readName } from './generations.ts';
import type { CertificateMeta } from './generations.ts';
import { safeName } from './storage/keys.ts';
import type { Storage } from './storage/storage.ts';
import { describeError } from '../log.ts';

export { IMPORTED, issuerSlug, safeName } from './storage/keys.ts';
export { StorageError } from './storage/storage.ts';
export type { CertificateMeta } from './generations.ts';

const KEPT_GENERATIONS = 3;
const CLEANED_AFTER_MS = 90 * 86_400_000;

export interface Loaded {
  /** The current one, else the newest good one. It may have expired. */
  readonly certificate: Certificate | null;
  /** null: others ordered it. */
  readonly meta: CertificateMeta | null;
  /** What was found damaged on the way, for people. */
  readonly problems: readonly string[];
}

export interface Stored extends Loaded {
  /** A slug. */
  readonly issuer: string;
  readonly name: string;
}

export type StateRecord = Readonly<Record<string, unknown>>;

export interface CertificateStore {
  readonly storage: Storage;
  /**
   * Puts damaged generations aside. Rejects with a `StorageError` when the storage could not be read, which is not the
   * same as having no certificate: who took it for that would order one at every start.
   */
  load(issuer: string, name: string, now?: number): Promise<Loaded>;
  /** Under a lock of the caller's. `meta` is null when no CA was asked by us. */
  save(issuer: string, name: string, certificate: Certificate, meta: CertificateMeta | null): Promise<void>;
  /** Names the current generation, to see cheaply whether it is another one; null: there is none. */
  generation(issuer: string, name: string): Promise<string | null>;
  /** What must outlive a restart beside a certificate, or in its absence: failures (else a crash loop would spend the CA's patience), ARI. */
  loadState(issuer: string, name: string): Promise<StateRecord | null>;
  saveState(issuer: string, name: string, state: StateRecord | null): Promise<void>;
  /** Everything there is. Changes nothing. */
  list(): Promise<readonly Stored[]>;
  /** Removes what expired, or was put aside, 90 days ago and nobody wants, and names it. */
  clean(now: number, isWanted: (issuer: string, name: string) => boolean): Promise<readonly string[]>;
}

export function createCertificateStore(storage: Storage): CertificateStore {
  const placeOf = (issuer: string, name: string): string => `certificates/${issuer}/${safeName(name)}`;

  const store: CertificateStore = {
    storage,
    load: async (issuer, name, now = Date.now()) => {
      const found = await inspect(storage, placeOf(issuer, name), now);
      const problems = [...found.problems, ...(await mend(storage, found, now))];
      if (found.chosen === null && found.unreadable !== null) throw found.unreadable;
      return { certificate: found.chosen?.certificate ?? null, meta: found.chosen?.meta ?? null, problems };
    },
    save: async (issuer, name, certificate, meta) => {
      const place = placeOf(issuer, name);
      const numbers = (await storage.list(place)).map(numberOf);
      const generation = `g-${Math.max(0, ...numbers) + 1}`;
      const texts = { 'key.pem': certificate.key, 'chain.pem': certificate.chain };
      try {
        for (const [part, text] of Object.entries(texts)) await storage.write(`${place}/${generation}/${part}`, text);
        // The last: it marks the generation as whole.
        await storage.write(`${place}/${generation}/meta.json`, formatMeta(name, certificate, meta));
        await storage.point(`${place}/current`, generation);
      } catch (error) {
        await discard(storage, place, generation).catch(() => {});
        throw error;
      }
      // What cannot be removed now is removed the next time.
      await prune(storage, place).catch(() => {});
    },
    generation: (issuer, name) => storage.pointee(`${placeOf(issuer, name)}/current`),
    loadState: async (issuer, name) => parseRecord(await storage.read(`${placeOf(issuer, name)}/state.json`)),
    saveState: async (issuer, name, state) => {
      const key = `${placeOf(issuer, name)}/state.json`;
      await (state === null ? storage.remove(key) : storage.write(key, `${JSON.stringify(state)}\n`));
    },
    list: async () => {
      const stored: Stored[] = [];
      for (const [issuer, word] of await places(storage)) {
        const found = await inspect(storage, `certificates/${issuer}/${word}`, Date.now());
        if (found.generations.length === 0) continue;
        const { chosen, problems } = found;
        const name = (chosen && (await readName(storage, `${found.place}/${chosen.generation}`))) ?? nameOf(word);
        stored.push({
          issuer,
          name,
          certificate: chosen?.certificate ?? null,
          meta: chosen?.meta ?? null,
          problems,
        });
      }
      return stored.toSorted((a, b) => a.name.localeCompare(b.name) || a.issuer.localeCompare(b.issuer));
    },
    clean: async (now, isWanted) => {
      const removed: string[] = [];
      for (const { issuer, name, certificate } of await store.list()) {
        if (certificate === null || certificate.notAfter + CLEANED_AFTER_MS > now || isWanted(issuer, name)) continue;
        await storage.remove(placeOf(issuer, name));
        removed.push(placeOf(issuer, name));
      }
      for (const [issuer, word] of await places(storage)) {
        for (const aside of await storage.list(`certificates/${issuer}/${word}`)) {
          const since = /\.corrupt-(\d+)$/.exec(aside)?.[1];
          if (since === undefined || Number(since) + CLEANED_AFTER_MS > now) continue;
          await storage.remove(`certificates/${issuer}/${word}/${aside}`);
          removed.push(`certificates/${issuer}/${word}/${aside}`);
        }
      }
      return removed;
    },
  };
  return store;
}

/** What could not be saved, unless it became current all the same. */
async function discard(storage: Storage, place: string, generation: string): Promise<void> {
  if ((await storage.pointee(`${place}/current`)) !== generation) await storage.remove(`${place}/${generation}`);
}

interface Inspected {
  readonly place: string;
  readonly current: string | null;
  /** Newest first. */
  readonly generations: readonly string[];
  readonly chosen: {
    readonly generation: string;
    readonly certificate: Certificate;
    readonly meta: CertificateMeta | null;
  } | null;
  /** What must be put aside. */
  readonly broken: readonly string[];
  readonly unreadable: Error | null;
  readonly problems: readonly string[];
}

/** Looks no further than the first good generation: the current one, as a rule. */
async function inspect(storage: Storage, place: string, now: number): Promise<Inspected> {
  const current = await storage.pointee(`${place}/current`);
  const generations = (await storage.list(place))
    .filter((name) => /^g-\d+$/.test(name))
    .toSorted((a, b) => numberOf(b) - numberOf(a));
  const problems: string[] = [];
  const broken: string[] = [];
  let unreadable: Error | null = null;
  let chosen: Inspected['chosen'] = null;
  let altered: Inspected['chosen'] = null;
  const known = current !== null && generations.includes(current);
  if (current !== null && !known) problems.push(`${place}/current leads to ${current}, which is not there`);
  for (const generation of known ? [current, ...generations.filter((it) => it !== current)] : generations) {
    const found = await readGeneration(storage, `${place}/${generation}`, generation === current);
    if (found.state === 'good') {
      chosen = { generation, certificate: found.certificate, meta: found.meta };
      break;
    }
    if (found.state === 'unreadable') unreadable ??= found.error;
    if (found.state !== 'unfinished') problems.push(found.problem);
    if (found.state === 'altered') altered ??= { generation, certificate: found.certificate, meta: null };
    if (found.state === 'damaged' || found.state === 'altered') broken.push(generation);
  }
  // Better than none, or than one no client accepts; nobody can tell what happened to it, so it stays where it is.
  if (chosen === null || (altered !== null && chosen.certificate.notAfter <= now)) chosen = altered ?? chosen;
  const aside = broken.filter((generation) => generation !== chosen?.generation);
  return { place, current, generations, chosen, broken: aside, unreadable, problems };
}

/** Puts aside what is broken and lets the pointer name what is served instead; returns what it could not do. */
async function mend(storage: Storage, found: Inspected, now: number): Promise<readonly string[]> {
  const { place, chosen, broken, current, unreadable } = found;
  // What cannot be read now may be good.
  if (unreadable !== null) return [];
  try {
    for (const generation of broken) await putAside(storage, `${place}/${generation}`, now);
    if (chosen === null && current !== null) await storage.remove(`${place}/current`);
    if (chosen !== null && chosen.generation !== current) await storage.point(`${place}/current`, chosen.generation);
    return [];
  } catch (error) {
    return [describeError(error)];
  }
}

async function putAside(storage: Storage, at: string, now: number): Promise<void> {
  for (const part of PARTS) {
    const text = await storage.read(`${at}/${part}`);
    if (text !== null) await storage.write(`${at}.corrupt-${now}/${part}`, text);
  }
  await storage.remove(at);
}

async function prune(storage: Storage, place: string): Promise<void> {
  const numbers = (await storage.list(place)).flatMap((name) => (/^g-\d+$/.test(name) ? numberOf(name) : []));
  for (const old of numbers.toSorted((a, b) => b - a).slice(KEPT_GENERATIONS)) {
    await storage.remove(`${place}/g-${old}`);
  }
}

async function places(storage: Storage): Promise<readonly (readonly [issuer: string, word: string])[]> {
  const found: [string, string][] = [];
  for (const issuer of await storage.list('certificates')) {
    for (const word of await storage.list(`certificates/${issuer}`)) found.push([issuer, word]);
  }
  return found;
}

/** Also of one put aside: numbers are not given again. */
function numberOf(generation: string): number {
  return Number(/^g-(\d+)/.exec(generation)?.[1] ?? 0);
}

function nameOf(word: string): string {
  return word.replace(/^_wildcard\./, '*.');
}
