/**
 * Which process a number means, and files only one living process can own. Linux tells by /proc; elsewhere an owner is
 * taken for gone when its number is.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** One process for all time: numbers are given again, start times are not, and both begin anew with each boot. */
export interface ProcessRecord {
  readonly pid: number;
  /** Clock ticks since boot; 0 where it cannot be known. */
  readonly startTime: number;
  readonly boot: string;
}

export type FileLock =
  | { readonly ok: true; readonly release: () => void }
  | { readonly ok: false; readonly holder: ProcessRecord };

/** Takes `file` for this process, unless its owner lives. */
export function lockFile(file: string): FileLock {
  const own = JSON.stringify(processRecord(process.pid));
  for (;;) {
    const draft = `${file}.${process.pid}.new`;
    writeFileSync(draft, own, { mode: 0o600 });
    try {
      // Unlike a write, a link to an existing name fails: one of two starters gets it.
      linkSync(draft, file);
      return { ok: true, release: () => release(file, own) };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    } finally {
      rmSync(draft, { force: true });
    }
    const holder = readProcessRecord(file);
    if (holder !== null && isAlive(holder)) return { ok: false, holder };
    setAside(file);
  }
}

function release(file: string, own: string): void {
  if (JSON.stringify(readProcessRecord(file)) === own) rmSync(file, { force: true });
}

/** Removes a stale lock, unless another starter has replaced it meanwhile. */
function setAside(file: string): void {
  const aside = `${file}.${process.pid}.old`;
  try {
    renameSync(file, aside);
    const record = readProcessRecord(aside);
    if (record !== null && isAlive(record)) linkSync(aside, file);
  } catch {
    // Somebody else was quicker; the next attempt sees whose it is now.
  }
  rmSync(aside, { force: true });
}

export function isAlive(record: ProcessRecord): boolean {
  const stat = readProcessStat(record.pid);
  if (stat !== null) return record.boot === bootId() && stat.startTime === record.startTime;
  try {
    process.kill(record.pid, 0);
    return bootId() === '';
  } catch {
    return false;
  }
}

export function processRecord(pid: number): ProcessRecord {
  return { pid, startTime: readProcessStat(pid)?.startTime ?? 0, boot: bootId() };
}

export function readProcessRecord(file: string): ProcessRecord | null {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value !== 'object' || value === null) return null;
    const { pid, startTime, boot } = value as Record<string, unknown>;
    if (typeof pid !== 'number' || typeof startTime !== 'number' || typeof boot !== 'string') return null;
    return { pid, startTime, boot };
  } catch {
    return null;
  }
}

export interface ProcessStat {
  readonly pid: number;
  readonly group: number;
  /** Clock ticks since boot. */
  readonly startTime: number;
}

/** proc(5): the name, in parentheses, may hold anything; field 3 begins after the last one. */
export function readProcessStat(pid: number): ProcessStat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // A zombie (state Z) runs nothing any more.
    if (fields[0] === 'Z') return null;
    return { pid, group: Number(fields[2]), startTime: Number(fields[19]) };
  } catch {
    return null;
  }
}

export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
