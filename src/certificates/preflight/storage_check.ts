/** Whether what the CA gives could be kept: asked of the file system, not tried, so that nothing shows of it afterwards. */
import { constants } from 'node:fs';
import { access, readdir, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { Check, CheckContext } from './context.ts';
import { failure, passed } from './finding.ts';
import type { Finding } from './finding.ts';

const NEEDED_BYTES = 10 * 1024 * 1024;
const NEEDED_INODES = 100;
const MAX_DEPTH = 3;

export const checkStorage: Check = (_certificate, context) => context.once(checkFolder);

async function checkFolder({ stateDirectory }: CheckContext): Promise<readonly Finding[]> {
  if (stateDirectory === null) return [];
  const { root, exists } = await nearest(stateDirectory);
  const folders = exists ? await foldersBelow(root, MAX_DEPTH) : [root];
  for (const folder of folders) {
    const reason = await whyNotWritable(folder);
    if (reason === null) continue;
    return [
      failure(
        'storage',
        'storage_read_only',
        folder,
        `nothing can be kept there: ${reason}`,
        "give the folder to the daemon's user, mount it writable, or set storage.root to another",
      ),
    ];
  }
  return [(await checkRoom(root)) ?? passed('storage', stateDirectory, 'what is issued can be kept')];
}

/** The folder itself, or the first one above it that is there. */
async function nearest(folder: string): Promise<{ readonly root: string; readonly exists: boolean }> {
  for (let at = folder; ; at = path.dirname(at)) {
    const there = await access(at, constants.F_OK).then(
      () => true,
      () => false,
    );
    if (there || at === path.dirname(at)) return { root: at, exists: at === folder };
  }
}

async function foldersBelow(root: string, depth: number): Promise<string[]> {
  if (depth === 0) return [root];
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const below = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => foldersBelow(path.join(root, entry.name), depth - 1));
  return [root, ...(await Promise.all(below)).flat()];
}

async function whyNotWritable(folder: string): Promise<string | null> {
  try {
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'EROFS') return 'the file system is mounted read-only (EROFS)';
    return code === 'EACCES' ? "the daemon's user may not write there (EACCES)" : `access is refused (${code})`;
  }
}

async function checkRoom(root: string): Promise<Finding | null> {
  const { blocks, bavail, bsize, files, ffree } = await statfs(root);
  // Some file systems count neither.
  const bytes = blocks > 0 ? bavail * bsize : Infinity;
  const inodes = files > 0 ? ffree : Infinity;
  if (bytes >= NEEDED_BYTES && inodes >= NEEDED_INODES) return null;
  const left = bytes < NEEDED_BYTES ? `${Math.floor(bytes / 1024)} KiB are free` : `${inodes} inodes are free`;
  return failure(
    'storage',
    'storage_full',
    root,
    `only ${left} there`,
    'make room: an order whose certificate cannot be kept would be wasted',
  );
}
