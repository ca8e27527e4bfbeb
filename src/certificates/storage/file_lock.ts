/**
 * A lock between processes that share a folder, perhaps on several machines: a file that says who holds it. The holder
 * shows that it lives by changing it; who waits takes over what has not changed for long, or whose process is gone.
 */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { codeOf, draftOf, openNew } from './files.ts';
import { BEAT_MS, formatRecord, isStale, look, ownRecord, parseRecord } from './lock_watch.ts';
import type { LockRecord, Sighting } from './lock_watch.ts';
import { LockLostError } from './storage.ts';
import type { Lock } from './storage.ts';
import { sleep } from '../../lifecycle.ts';

const POLL_MS = 100;
/** Another waiter may have the file in its hand for a moment, to see that it is not stale. */
const ABSENCE_MS = 500;

export interface HeldLock extends Lock {
  /** Never rejects: a lock that cannot be removed goes stale, and what was done under it is done. */
  release(): Promise<void>;
}

/** Waits for `file`, below `root`, until `signal` aborts; then rejects with its reason. */
export async function takeFileLock(root: string, file: string, signal: AbortSignal): Promise<HeldLock> {
  const record = ownRecord(randomBytes(16).toString('hex'));
  let sighting: Sighting | null = null;
  for (;;) {
    signal.throwIfAborted();
    const text = await readText(file);
    if (text === null) {
      const handle = await create(root, file, formatRecord(record, 0));
      if (handle !== null) return hold(file, handle, record);
      continue;
    }
    sighting = look(sighting, text, performance.now());
    if (isStale(sighting)) await setAside(file, text);
    else await sleep(POLL_MS, signal);
  }
}

/** The open file, or null when there is one already. */
async function create(root: string, file: string, text: string): Promise<FileHandle | null> {
  const draft = draftOf(file);
  const handle = await openNew(root, draft);
  try {
    await handle.write(text, 0);
    await handle.datasync();
    // Unlike a rename, a link to an existing name fails: of two that try, one gets it. And it is never seen empty.
    await link(draft, file);
    return handle;
  } catch (error) {
    await handle.close();
    if (codeOf(error) === 'EEXIST') return null;
    if (['EPERM', 'ENOTSUP', 'ENOSYS'].includes(codeOf(error))) return await createWithoutLinks(file, text);
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Some file systems know no links. Whoever dies between the two steps leaves an empty file. */
async function createWithoutLinks(file: string, text: string): Promise<FileHandle | null> {
  let handle;
  try {
    handle = await open(file, 'wx', 0o600);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return null;
    throw error;
  }
  try {
    await handle.write(text, 0);
    await handle.datasync();
    return handle;
  } catch (error) {
    await handle.close();
    await rm(file, { force: true });
    throw error;
  }
}

function hold(file: string, handle: FileHandle, record: LockRecord): HeldLock {
  const releasing = new AbortController();
  let beats = 0;
  let beatAt = performance.now();
  // Through the open file: what somebody else put in its place is never written to.
  const beat = async (): Promise<void> => {
    beats += 1;
    await handle.write(formatRecord(record, beats), 0);
    // For those who see the folder through a network.
    await handle.datasync();
    beatAt = performance.now();
  };
  const beating = (async () => {
    for (;;) {
      await sleep(BEAT_MS, releasing.signal);
      if (releasing.signal.aborted) return;
      // A beat that fails proves nothing: `assertHeld` reads who has it.
      await beat().catch(() => {});
    }
  })();
  const isOurs = async (): Promise<boolean> => {
    const text = await readText(file);
    return text !== null && parseRecord(text)?.token === record.token;
  };
  return {
    assertHeld: async () => {
      // We may have been held up ourselves; a waiter about to act sees this one.
      if (performance.now() - beatAt > BEAT_MS) await beat();
      const until = performance.now() + ABSENCE_MS;
      while (!(await isOurs())) {
        const gone = (await readText(file)) === null;
        if (!gone || performance.now() > until) throw new LockLostError(`another instance took over the lock ${file}`);
        await sleep(POLL_MS / 4);
      }
    },
    release: async () => {
      releasing.abort();
      await beating;
      try {
        if (await isOurs()) await unlink(file);
      } catch {
        // See above.
      }
      await handle.close().catch(() => {});
    },
  };
}

/** Removes a stale lock, unless another waiter has replaced it meanwhile: then puts that one back. */
async function setAside(file: string, stale: string): Promise<void> {
  if ((await readText(file)) !== stale) return;
  const aside = draftOf(file);
  try {
    await rename(file, aside);
    if ((await readText(aside)) !== stale) await link(aside, file);
  } catch (error) {
    // Somebody was quicker, or there are no links to put it back with: its owner will find out by `assertHeld`.
    if (!['ENOENT', 'EEXIST', 'EPERM', 'ENOTSUP', 'ENOSYS'].includes(codeOf(error))) throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'latin1');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}
