/** What processes use, as the kernel counts it. */
import { readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { residentBytes } from '../support/processes.ts';

/** A process and all below it, without those of `except` and all below them. */
export function processTree(root: number, except: ReadonlySet<number> = new Set()): readonly number[] {
  if (except.has(root)) return [];
  const children = readdirSync(`/proc/${root}/task`).flatMap((task) =>
    readFileSync(`/proc/${root}/task/${task}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
  );
  return [root, ...children.flatMap((child) => processTree(child, except))];
}

/** CPU seconds of all threads so far, to the nanosecond: `stat` counts in hundredths of a second. */
export function cpuSeconds(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
    }
  }
  return nanoseconds / 1e9;
}

export function residentKilobytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + residentBytes(pid) / 1000, 0);
}

const TICKS_PER_SECOND = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout);

/** CPU seconds of the programs this process has run to their end. */
export function cpuSecondsOfEnded(): number {
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}
