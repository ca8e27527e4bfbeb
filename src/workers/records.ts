/**
 * Whose runtime directory this is, and which process groups its owner started: what the next start needs to take over
 * after one that could not clean up.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { bootId, lockFile, processRecord, readProcessRecord, readProcessStat } from '../process_lock.ts';
import type { ProcessRecord, ProcessStat } from '../process_lock.ts';

export interface WorkerRecords {
  /** A process group was started; its leader's pid is its number. */
  add(group: number): void;
  remove(group: number): void;
}

export interface RuntimeLock extends WorkerRecords {
  /** KILLs what a former owner left behind; returns how many groups that were. */
  reclaim(): number;
  release(): void;
}

export type LockOutcome =
  | { readonly ok: true; readonly lock: RuntimeLock }
  | { readonly ok: false; readonly holder: string };

/** Takes the directory (which exists) for this process, unless its owner lives. */
export function lockRuntimeDirectory(directory: string): LockOutcome {
  const lock = lockFile(path.join(directory, 'control.json'));
  if (!lock.ok) return { ok: false, holder: `pid ${lock.holder.pid}` };
  const folder = path.join(directory, 'workers');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const recordFile = (group: number): string => path.join(folder, `${group}.json`);
  return {
    ok: true,
    lock: {
      add: (group) => writeFileSync(recordFile(group), JSON.stringify(processRecord(group)), { mode: 0o600 }),
      remove: (group) => {
        try {
          rmSync(recordFile(group), { force: true });
        } catch {
          // A full or read-only disk must not end us; what is left is compared with its process at the next start.
        }
      },
      reclaim: () => {
        let groups = 0;
        for (const name of readdirSync(folder)) {
          const record = readProcessRecord(path.join(folder, name));
          if (record !== null && isOurGroup(record) && kill(record.pid)) groups++;
          rmSync(path.join(folder, name), { force: true });
        }
        return groups;
      },
      release: lock.release,
    },
  };
}

function kill(group: number): boolean {
  try {
    process.kill(-group, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

/** The leader is the one recorded, or it is gone and those left are no older than it was. */
function isOurGroup({ pid, startTime, boot }: ProcessRecord): boolean {
  if (boot !== bootId()) return false;
  const members = processes().filter(({ group }) => group === pid);
  const leader = members.find((member) => member.pid === pid);
  if (leader !== undefined) return leader.startTime === startTime;
  return members.length > 0 && members.every((member) => member.startTime >= startTime);
}

function processes(): ProcessStat[] {
  try {
    return readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (readProcessStat(Number(name)) ?? []) : []));
  } catch {
    return [];
  }
}
