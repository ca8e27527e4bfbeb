/** Who else can read what is kept: looked at as a whole, because one open folder or file is enough. */
import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { codeOf } from './files.ts';

/** More of the same tells nothing new. */
const MAX_TOLD = 10;

/** One sentence for each file or folder that is not its owner's alone, or not ours. */
export async function listExposed(root: string): Promise<readonly string[]> {
  const found = await visit(root, root);
  const more = found.length - MAX_TOLD;
  return more > 0 ? [...found.slice(0, MAX_TOLD), `and ${more} more below ${root}`] : found;
}

async function visit(root: string, at: string): Promise<readonly string[]> {
  let status;
  try {
    status = await lstat(at);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
  if (status.isSymbolicLink()) return [];
  const own = problemsOf(root, at, status);
  return status.isDirectory() ? [...own, ...(await visitBelow(root, at))] : own;
}

async function visitBelow(root: string, folder: string): Promise<readonly string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (codeOf(error) === 'EACCES') return [`${folder} cannot be read: chown -R ${process.getuid?.() ?? '?'} ${root}`];
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
  return (await Promise.all(names.toSorted().map((name) => visit(root, path.join(folder, name))))).flat();
}

function problemsOf(root: string, at: string, status: Stats): readonly string[] {
  const problems: string[] = [];
  const uid = process.getuid?.() ?? status.uid;
  if (uid !== 0 && status.uid !== uid) {
    problems.push(
      `${at} belongs to uid ${status.uid}, not to uid ${uid} this program runs as: chown -R ${uid} ${root}`,
    );
  }
  const folder = status.isDirectory();
  // That others may look into the root is common, and harmless while what is in it is closed.
  const open = status.mode & (at === root ? 0o022 : 0o077);
  if (open !== 0) {
    const mode = (status.mode & 0o777).toString(8).padStart(4, '0');
    const what = !folder && (open & 0o044) !== 0 ? 'others can read it' : 'others have rights to it';
    const remedy = `chmod -R go= ${root}${!folder && isKey(at) ? ', then renew with a new key' : ''}`;
    problems.push(`${at} has mode ${mode}, so ${what}: ${remedy}`);
  }
  return problems;
}

function isKey(file: string): boolean {
  return /key/.test(path.basename(file));
}
