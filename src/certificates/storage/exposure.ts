/** Who else can read what is kept: looked at as a whole, because one open folder or file is enough. */
import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { codeOf } from './files.ts';

/** More of the same tells nothing new. */
const MAX_TOLD = 10;

/** One sentence for each file or folder that is not its owner's alone, or not ours. */
export async function listExposed(root: string): Promise<readonly string[]> {
  const found: string[] = [];
  await visit(root, root, found);
  const more = found.length - MAX_TOLD;
  return more > 0 ? [...found.slice(0, MAX_TOLD), `and ${more} more below ${root}`] : found;
}

async function visit(root: string, at: string, found: string[]): Promise<void> {
  let status;
  try {
    status = await lstat(at);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  if (status.isSymbolicLink()) return;
  const uid = process.getuid?.() ?? status.uid;
  if (uid !== 0 && status.uid !== uid) {
    found.push(`${at} belongs to uid ${status.uid}, not to uid ${uid} this program runs as: chown -R ${uid} ${root}`);
  }
  const folder = status.isDirectory();
  // That others may look into the root is common, and harmless while what is in it is closed.
  const open = status.mode & (folder ? (at === root ? 0o022 : 0o077) : 0o077);
  if (open !== 0) {
    const mode = (status.mode & 0o777).toString(8).padStart(4, '0');
    const what = !folder && (open & 0o044) !== 0 ? 'others can read it' : 'others have rights to it';
    found.push(
      `${at} has mode ${mode}, so ${what}: chmod -R go= ${root}${isKey(at) ? ', then renew with a new key' : ''}`,
    );
  }
  if (!folder) return;
  let names: string[];
  try {
    names = await readdir(at);
  } catch (error) {
    if (codeOf(error) === 'EACCES')
      return void found.push(`${at} cannot be read by uid ${uid}: chown -R ${uid} ${root}`);
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  for (const name of names) await visit(root, path.join(at, name), found);
}

function isKey(file: string): boolean {
  return /key/.test(path.basename(file));
}
