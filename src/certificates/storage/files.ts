/** Writing files so that a crash, a full disk or a careless umask leaves neither halves nor readable secrets. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { StorageError } from './storage.ts';

/** A neighbour of `file` that nobody else writes: not finished, or not wanted any more. No key begins with a dot. */
export function draftOf(file: string): string {
  return path.join(path.dirname(file), `.new-${randomBytes(8).toString('hex')}`);
}

export function isUnfinished(name: string): boolean {
  return /^\.new-[0-9a-f]{16}$/.test(name);
}

/** Whole or not at all, 0600, durable when it resolves; makes the folders it needs below `root`, and `root` itself. */
export async function writeWhole(root: string, file: string, content: string | Uint8Array): Promise<void> {
  const folder = path.dirname(file);
  const draft = draftOf(file);
  try {
    const handle = await openNew(root, draft);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** A symbolic link replaced by one rename: readers see the old target or the new one. */
export async function linkWhole(root: string, file: string, target: string): Promise<void> {
  const draft = draftOf(file);
  await makeFolders(root, path.dirname(file));
  try {
    await symlink(target, draft);
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncFolder(path.dirname(file));
}

/** A file that must not be there yet, for writing, with its folders. */
export async function openNew(root: string, file: string): Promise<FileHandle> {
  let handle;
  try {
    handle = await open(file, 'wx', 0o600);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    await makeFolders(root, path.dirname(file));
    handle = await open(file, 'wx', 0o600);
  }
  // A umask takes away even what the owner needs.
  await tolerant(handle.chmod(0o600));
  return handle;
}

async function makeFolders(root: string, folder: string): Promise<void> {
  if (folder !== root) await makeFolders(root, path.dirname(folder));
  try {
    // A root that was there keeps the mode its owner gave it.
    const made = await mkdir(folder, { recursive: folder === root, mode: 0o700 });
    if (folder === root && made === undefined) return;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    throw error;
  }
  await tolerant(chmod(folder, 0o700));
  await syncFolder(path.dirname(folder));
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Some network file systems know no modes: what was asked for at creation is then all there is. */
async function tolerant(change: Promise<void>): Promise<void> {
  try {
    await change;
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(codeOf(error))) throw error;
  }
}

/** '' when it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Any failure below the state folder, as what an operator can do about it. */
export function storageError(root: string, action: 'read' | 'written', error: unknown): unknown {
  // What is no answer of the file system is a defect, and stays one.
  if (error instanceof StorageError || codeOf(error) === '') return error;
  return new StorageError(`the state folder ${root} cannot be ${action}${reasonOf(error)}; see storage.root`, {
    cause: error,
  });
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOSPC':
      return ': the disk is full';
    case 'EDQUOT':
      return ': the quota is used up';
    case 'EROFS':
      return ': it is on a read-only file system';
    case 'EACCES':
    case 'EPERM':
      return `: uid ${process.getuid?.() ?? '?'} has no right to it`;
    default:
      return '';
  }
}
