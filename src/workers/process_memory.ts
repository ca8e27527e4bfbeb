/** What process groups hold of the machine's memory, as /proc tells; nothing where there is none. */
import { readdirSync, readFileSync } from 'node:fs';

/** A scan costs some milliseconds where there are many processes: whoever asks often gets the last one. */
const KEPT_MS = 1_000;

export interface GroupMemory {
  /** Bytes that are resident, shared ones counted for each process; null: not known. */
  of(group: number): number | null;
}

export function createGroupMemory(now: () => number = Date.now): GroupMemory {
  let scannedAt = -Infinity;
  let groups: ReadonlyMap<number, number> = new Map();
  return {
    of: (group) => {
      if (now() - scannedAt >= KEPT_MS) {
        scannedAt = now();
        groups = scan();
      }
      return groups.get(group) ?? null;
    },
  };
}

/** Resident bytes by process group. */
function scan(): ReadonlyMap<number, number> {
  const groups = new Map<number, number>();
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return groups;
  }
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const found = readProcess(name);
    if (found !== null) groups.set(found.group, (groups.get(found.group) ?? 0) + found.bytes);
  }
  return groups;
}

/** null for one that has ended meanwhile. */
function readProcess(pid: string): { readonly group: number; readonly bytes: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): the name, in parentheses, may hold anything; field 3 begins after the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // VmRSS rather than statm, whose pages are of a size that differs between machines.
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return { group: Number(fields[2]), bytes: Number(resident?.[1] ?? 0) * 1024 };
  } catch {
    return null;
  }
}
