/** A storage in a folder of this machine, or of a network file system shared by several: one file by each key. */
import { randomBytes } from 'node:crypto';
import { lstat, readdir, readFile, readlink, rename, rm, unlink } from 'node:fs/promises';
import path from 'node:path';
import { codeOf, draftOf, linkWhole, storageError, syncFolder, writeWhole } from './files.ts';
import { takeFileLock } from './file_lock.ts';
import { listExposed } from './exposure.ts';
import { StorageError } from './storage.ts';
import type { Storage } from './storage.ts';
import { sweep } from './sweep.ts';
import { createTurns } from './turns.ts';

const PROBE_BYTES = 10 * 1024;

export interface FileStorage extends Storage {
  /**
   * What others than the owner can read or change, and what we cannot: one sentence each, with the remedy. A key that was
   * readable is told of and still served; only its owner can say who may have read it, so nothing is mended silently.
   */
  problems(): Promise<readonly string[]>;
  /** Removes what killed writers left. `now` in milliseconds since the epoch. */
  sweep(now: number): Promise<void>;
}

/** Nothing is made before something is written. */
export function createFileStorage(root: string): FileStorage {
  const base = path.resolve(root);
  const turns = createTurns();
  const fileOf = (key: string): string => path.join(base, ...words(key));
  const writing = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      throw storageError(base, 'written', error);
    }
  };
  /** null where nothing of that kind is. */
  const reading = async <T>(run: () => Promise<T>): Promise<T | null> => {
    try {
      return await run();
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EISDIR', 'EINVAL'].includes(codeOf(error))) return null;
      throw storageError(base, 'read', error);
    }
  };

  const storage: FileStorage = {
    description: base,
    read: async (key) => reading(() => readFile(fileOf(key), 'utf8')),
    write: async (key, content) => writing(() => writeWhole(base, fileOf(key), content)),
    remove: async (key) => writing(() => removeWhole(fileOf(key))),
    list: async (prefix) => {
      const names = await reading(() => readdir(fileOf(prefix)));
      return (names ?? []).filter((name) => WORD.test(name));
    },
    point: async (key, sibling) => writing(() => linkWhole(base, fileOf(key), word(sibling))),
    pointee: async (key) => {
      const target = await reading(() => readlink(fileOf(key)));
      return target !== null && WORD.test(target) ? target : null;
    },
    withLock: async (name, signal, work) => {
      const file = `${path.join(base, 'locks', ...words(name))}.lock`;
      using _turn = await turns.take(name, signal);
      const lock = await writing(() => takeFileLock(base, file, signal));
      try {
        return await work({ assertHeld: () => writing(() => lock.assertHeld()) });
      } finally {
        await lock.release();
      }
    },
    probe: async () => {
      const key = `probe-${randomBytes(8).toString('hex')}`;
      const content = randomBytes(PROBE_BYTES / 2).toString('hex');
      try {
        await storage.write(key, content);
        if ((await storage.read(key)) === content) return;
        throw new StorageError(`the state folder ${base} does not give back what is written to it; see storage.root`);
      } finally {
        await storage.remove(key);
      }
    },
    sweep: async (now) => writing(() => sweep(base, now)),
    problems: async () => (await reading(() => listExposed(base))) ?? [],
  };
  return storage;
}

/** A folder is renamed first: nobody sees, and no crash leaves, half of it. */
async function removeWhole(file: string): Promise<void> {
  try {
    if ((await lstat(file)).isDirectory()) {
      const aside = draftOf(file);
      await rename(file, aside);
      await rm(aside, { recursive: true, force: true });
    } else {
      await unlink(file);
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return;
    throw error;
  }
  await syncFolder(path.dirname(file));
}

/** Longer ones do not fit beside `.lock` and `.json` in the 255 bytes a file's name may have. */
const WORD = /^[A-Za-z0-9_-][A-Za-z0-9._:-]{0,239}$/;

function words(key: string): string[] {
  return key.split('/').map(word);
}

/** Nothing else may lead anywhere: no `..`, no hidden name, no separator. */
function word(text: string): string {
  if (!WORD.test(text)) throw new StorageError(`"${text}" cannot be part of a storage key`);
  return text;
}
