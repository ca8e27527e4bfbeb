/** What process groups hold of the machine's memory and take of its CPU time, as /proc tells; nothing where there is none. */
import { readdirSync, readFileSync } from 'node:fs';

/** 140 processes take 3 to 7 ms, and each whose memory is asked 0.7 ms more: whoever asks often gets the last scan. */
const KEPT_MS = 1_000;
/** USER_HZ, which is the same on all machines (proc(5)). */
const TICKS_PER_SECOND = 100;

export interface GroupUsage {
  /** Bytes: shared ones divided among those who share them where we may see that, else counted for each process. */
  readonly memory: number;
  /** CPU time since it began, that of ended children included. */
  readonly cpuSeconds: number;
  /** Of one core, since the scan before; null: it was not there then. */
  readonly cpu: number | null;
}

export interface GroupUsages {
  /** null: not known. */
  of(group: number): GroupUsage | null;
}

interface Group {
  readonly pids: string[];
  cpuSeconds: number;
  /** null: nobody has asked since the scan. */
  memory: number | null;
}

export function createGroupUsages(now: () => number = Date.now): GroupUsages {
  let [scannedAt, elapsedMs] = [-Infinity, Infinity];
  let groups = new Map<number, Group>();
  let before = groups;
  return {
    of: (id) => {
      // A clock that was set back must not keep an old scan.
      if (Math.abs(now() - scannedAt) >= KEPT_MS) {
        elapsedMs = now() - scannedAt;
        scannedAt = now();
        [before, groups] = [groups, scan()];
      }
      const group = groups.get(id);
      if (group === undefined) return null;
      const { cpuSeconds } = group;
      group.memory ??= group.pids.reduce((sum, pid) => sum + memoryOf(pid), 0);
      const last = before.get(id);
      const spent = last === undefined ? null : Math.max(0, cpuSeconds - last.cpuSeconds);
      return { memory: group.memory, cpuSeconds, cpu: spent === null ? null : (spent / elapsedMs) * 1_000 };
    },
  };
}

function scan(): Map<number, Group> {
  const groups = new Map<number, Group>();
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return groups;
  }
  for (const pid of names) {
    const found = /^\d+$/.test(pid) ? readProcess(pid) : null;
    if (found === null) continue;
    const group = groups.get(found.group) ?? { pids: [], cpuSeconds: 0, memory: null };
    group.pids.push(pid);
    group.cpuSeconds += found.cpuSeconds;
    groups.set(found.group, group);
  }
  return groups;
}

/** null for one that has ended meanwhile. */
function readProcess(pid: string): { readonly group: number; readonly cpuSeconds: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): the name, in parentheses, may hold anything; field 3 begins after the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // utime, stime, cutime, cstime: what a child took becomes its parent's when it is reaped, so the sum goes on.
    const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    return { group: Number(fields[2]), cpuSeconds: ticks / TICKS_PER_SECOND };
  } catch {
    return null;
  }
}

/** 0 of one that has ended meanwhile. */
function memoryOf(pid: string): number {
  const kibibytes = readField(`/proc/${pid}/smaps_rollup`, /^Pss:\s+(\d+) kB$/m);
  // Of another user, or of a kernel without it. VmRSS rather than statm, whose pages differ in size between machines.
  return (kibibytes ?? readField(`/proc/${pid}/status`, /^VmRSS:\s+(\d+) kB$/m) ?? 0) * 1024;
}

function readField(file: string, pattern: RegExp): number | null {
  try {
    const match = pattern.exec(readFileSync(file, 'latin1'));
    return match === null ? null : Number(match[1]);
  } catch {
    return null;
  }
}
