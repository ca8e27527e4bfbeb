/**
 * Which releases of a service there are, and whether their steps before the start were done: kept in the store, so that the
 * next start of ours and other instances know. A release is what is defined and what `proxy deploy` called it; the links of
 * its directory are followed once, and it stays there.
 */
import { createHash } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import type { LaunchedService } from './launch.ts';
import type { PrestartOutcome } from './prestart.ts';
import type { ServiceConfig } from '../config/config.ts';
import { sleep } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';

/** Releases that can be gone back to without their steps. */
const KEPT_RELEASES = 20;
/** A lock that is free is had sooner. */
const WAIT_TOLD_MS = 1_000;
/** For a lock that others hold only to write. */
const COMMIT_MS = 30_000;

/** What is needed of the store, as its own interface says it. */
export interface ReleaseStore {
  read(key: string): Promise<string | null>;
  write(key: string, content: string): Promise<void>;
  withLock<T>(
    name: string,
    signal: AbortSignal,
    work: (lock: { assertHeld(): Promise<void> }) => Promise<T>,
  ): Promise<T>;
}

export interface Release {
  readonly id: string;
  /** As `proxy deploy` or the configuration named it. */
  readonly name: string | null;
  /** Without links. */
  readonly directory: string;
}

export type Prepared =
  | {
      readonly ok: true;
      readonly release: Release;
      /** False: its steps had been done before. */
      readonly ran: boolean;
    }
  | {
      readonly ok: false;
      /** null: not a step was at fault. */
      readonly step: string | null;
      readonly reason: string;
      readonly output: readonly string[];
    };

export interface PrepareOptions {
  readonly service: LaunchedService;
  /** What `proxy deploy` calls the release; null: the one that runs, while its definition is the same. */
  readonly name: string | null;
  /** Nothing runs yet: the release is the current one as soon as its steps are done. */
  readonly first: boolean;
  readonly signal: AbortSignal;
  /** Somebody else has the lock and perhaps runs steps. */
  readonly onWait: () => void;
  /** Runs the steps of the service, whose directory is the release's; `assertHeld` goes before each. */
  readonly run: (service: LaunchedService, assertHeld: () => Promise<void>) => Promise<PrestartOutcome>;
}

export interface Releases {
  /** Finds or makes the release, and sees to it that its steps were done, here or elsewhere, before it resolves. */
  prepare(options: PrepareOptions): Promise<Prepared>;
  /** From now on this release is the one to start with. */
  commit(service: ServiceConfig, release: Release): Promise<void>;
}

interface Kept extends Release {
  readonly definition: string;
  readonly steps: 'running' | 'done' | 'failed';
  /** Milliseconds since the epoch. */
  readonly madeAt: number;
  /** Its workers served once. */
  readonly served: boolean;
}

/** By service: one value, so that it is never half changed. */
interface Ledger {
  /** The id of the release to start with; null: none has served. */
  readonly current: string | null;
  /** The latest last. */
  readonly releases: readonly Kept[];
}

const EMPTY: Ledger = { current: null, releases: [] };

export function createReleases(store: ReleaseStore, log: Logger, now: () => number = Date.now): Releases {
  const keyOf = (service: string): string => `releases/${service}.json`;
  const lockOf = (service: string): string => `releases-${service}`;
  const read = async (service: string): Promise<Ledger> => parseLedger(await store.read(keyOf(service)));
  const write = (service: string, ledger: Ledger): Promise<void> =>
    store.write(keyOf(service), `${JSON.stringify(ledger, null, 2)}\n`);

  const prepare = async (options: PrepareOptions): Promise<Prepared> => {
    const { service, name, first } = options;
    const events = log.with({ service: service.name });
    const find = (ledger: Ledger): Kept | null => {
      const found = findRelease(ledger, service, name, realDirectory(service.directory));
      return found !== null && (!first || ledger.current === found.id) ? found : null;
    };
    const known = find(await read(service.name));
    // Most starts end here, without a lock.
    if (known !== null) return inPlace(known, service, events);
    const waited = new AbortController();
    void sleep(WAIT_TOLD_MS, waited.signal).then(() => waited.signal.aborted || options.onWait());
    return store.withLock(lockOf(service.name), options.signal, async (lock) => {
      waited.abort();
      // Whoever had the lock may have made it.
      const ledger = await read(service.name);
      const since = findRelease(ledger, service, name, realDirectory(service.directory));
      if (since !== null) {
        if (first) await write(service.name, withCurrent(ledger, since));
        return inPlace(since, service, events);
      }
      const directory = realDirectory(service.directory);
      if (directory === null) return noDirectory(service);
      const definition = definitionOf(service);
      const id = releaseId(definition, name);
      const before = ledger.releases.find((release) => release.id === id);
      if (before?.steps === 'running' && service.prestart.length > 0) {
        // Whoever ran them has not come to their end: the lock is ours.
        const begun = new Date(before.madeAt).toISOString();
        events.warn('prestart_repeated', { release: name ?? id, begun_at: begun, reason: 'they were interrupted' });
      }
      const release: Kept = {
        id,
        name: name ?? service.release,
        directory,
        definition,
        madeAt: now(),
        steps: 'running',
        served: before?.served ?? false,
      };
      const others = ledger.releases.filter((other) => other.id !== id);
      const keep = async (kept: Kept, current: string | null): Promise<void> => {
        await lock.assertHeld();
        const serves = others.filter(({ id: other }, i) => other === current || i >= others.length - KEPT_RELEASES);
        await write(service.name, { current, releases: [...serves, kept] });
      };
      if (service.prestart.length > 0) await keep(release, ledger.current);
      const outcome = await options.run({ ...service, directory }, lock.assertHeld);
      if (!outcome.ok) {
        // One that was stopped in a step was not given up: the next start says that it is repeated.
        if (!options.signal.aborted) await keep({ ...release, steps: 'failed' }, ledger.current);
        return outcome;
      }
      await keep({ ...release, steps: 'done', served: first || release.served }, first ? id : ledger.current);
      events.info('release_made', { release: release.name ?? id, directory });
      return { ok: true, release: { id, name: release.name, directory }, ran: service.prestart.length > 0 };
    });
  };

  return {
    prepare: async (options) => {
      try {
        return await prepare(options);
      } catch (error) {
        const { service, name, signal } = options;
        if (signal.aborted) return { ok: false, step: null, reason: 'stopped', output: [] };
        const directory = realDirectory(service.directory);
        if (directory === null) return noDirectory(service);
        const reason = describeError(error);
        // Without steps nothing must happen only once: no reason to be down because a disk is full.
        if (service.prestart.length > 0) return { ok: false, step: null, reason, output: [] };
        log.warn('release_not_kept', { service: service.name, reason });
        const id = releaseId(definitionOf(service), name);
        return { ok: true, release: { id, name: name ?? service.release, directory }, ran: false };
      }
    },
    commit: async (service, { id }) => {
      try {
        await store.withLock(lockOf(service.name), AbortSignal.timeout(COMMIT_MS), async () => {
          const ledger = await read(service.name);
          const release = ledger.releases.find((one) => one.id === id);
          if (release !== undefined) await write(service.name, withCurrent(ledger, release));
        });
      } catch (error) {
        log.warn('release_not_kept', { service: service.name, reason: describeError(error) });
      }
    },
  };
}

/** The release asked for, if there is nothing more to do for it. `real`: where its directory leads now. */
function findRelease(
  { current, releases }: Ledger,
  service: ServiceConfig,
  name: string | null,
  real: string | null,
): Kept | null {
  const definition = definitionOf(service);
  const fits = (release: Kept | undefined): release is Kept =>
    release !== undefined && release.definition === definition && release.steps === 'done';
  if (name !== null) {
    const named = releases.find(({ id }) => id === releaseId(definition, name));
    // One that never served may have been mended since: it is the same only where it was.
    return fits(named) && (named.served || named.directory === real) ? named : null;
  }
  const running = releases.find(({ id }) => id === current);
  if (fits(running)) return running;
  // Others may have made it, to whom it is not yet the current one. An older one would bring old code back.
  const last = releases.at(-1);
  return fits(last) && last.directory === real ? last : null;
}

function withCurrent({ releases }: Ledger, { id }: Release): Ledger {
  return { current: id, releases: releases.map((one) => (one.id === id ? { ...one, served: true } : one)) };
}

/** A directory that is gone (an old release, tidied away) is no reason to be down, nor to migrate twice. */
function inPlace({ id, name, directory }: Kept, service: LaunchedService, log: Logger): Prepared {
  if (realDirectory(directory) !== null) return { ok: true, release: { id, name, directory }, ran: false };
  const instead = realDirectory(service.directory);
  if (instead === null) return noDirectory(service);
  log.warn('release_directory_gone', { release: name ?? id, directory, instead });
  return { ok: true, release: { id, name, directory: instead }, ran: false };
}

function noDirectory({ directory }: ServiceConfig): Prepared {
  return { ok: false, step: null, reason: `there is no directory ${directory}`, output: [] };
}

/**
 * What makes another release: what is run, where, what goes before it, and how it is called. Numbers, times and the
 * environment do not (machines that share a store may differ in it); neither does what the directory's links lead to.
 */
export function definitionOf({ command, directory, release, prestart }: ServiceConfig): string {
  const steps = prestart.map((step) => [step.name, step.command]);
  return hash([command, directory, release, steps]);
}

function releaseId(definition: string, name: string | null): string {
  return hash([definition, name]).slice(0, 16);
}

/** Commands may hold secrets: only this leaves the process. */
function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

function realDirectory(directory: string): string | null {
  try {
    const real = realpathSync(directory);
    return statSync(real).isDirectory() ? real : null;
  } catch {
    return null;
  }
}

/** What cannot be understood counts as nothing: then steps are run again, as they are at the first start. */
function parseLedger(text: string | null): Ledger {
  if (text === null) return EMPTY;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return EMPTY;
  }
  if (!isRecord(value) || !Array.isArray(value['releases'])) return EMPTY;
  const { current } = value;
  return { current: typeof current === 'string' ? current : null, releases: value['releases'].flatMap(parseKept) };
}

function parseKept(value: unknown): readonly Kept[] {
  if (!isRecord(value)) return [];
  const { id, name, directory, definition, steps, madeAt, served } = value;
  if (typeof id !== 'string' || typeof directory !== 'string' || typeof definition !== 'string') return [];
  if (typeof madeAt !== 'number' || (steps !== 'running' && steps !== 'done' && steps !== 'failed')) return [];
  return [
    {
      id,
      name: typeof name === 'string' ? name : null,
      directory,
      definition,
      steps,
      madeAt,
      served: served === true,
    },
  ];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
