/** What writers leave that are killed before their end: drafts nobody will finish, some with a key in them. */
import { lstat, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { codeOf, isUnfinished } from './files.ts';

/** No writer takes as long, and no two clocks of one folder differ as much. */
const ABANDONED_AFTER_MS = 3_600_000;

/** Below `folder`; `now` in milliseconds since the epoch. */
export async function sweep(folder: string, now: number): Promise<void> {
  for (const name of await names(folder)) {
    const at = path.join(folder, name);
    const status = await lstat(at).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    });
    if (status === null) continue;
    if (!isUnfinished(name)) {
      if (status.isDirectory()) await sweep(at, now);
    } else if (status.ctimeMs + ABANDONED_AFTER_MS < now) {
      await rm(at, { recursive: true, force: true });
    }
  }
}

async function names(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
