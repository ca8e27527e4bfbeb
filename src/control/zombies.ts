/**
 * What nobody buries. A process whose parent ended belongs to PID 1; when that is us, what is left of it stays for ever,
 * since Node waits for its own children only.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { persist } from '../defects.ts';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';

const LOOK_MS = 60_000;

export interface Zombies {
  /** As of the last look; null: they are somebody else's affair. */
  count(): number | null;
}

export function watchZombies(pid: number, log: Logger, signal: AbortSignal): Zombies {
  if (pid !== 1) return { count: () => null };
  log.warn('no_init', {
    warning: 'we are PID 1, and bury no orphans of workers: start us under an init (docker run --init)',
  });
  let count = 0;
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      const before = count;
      count = countZombies(pid);
      if (count > before) log.warn('zombies', { count });
      await sleep(LOOK_MS, signal);
    }
  };
  void persist(loop, log, signal);
  return { count: () => count };
}

/** Children of this process that have ended and were not waited for. */
export function countZombies(parent: number, proc = '/proc'): number {
  const names = readdirSync(proc).filter((name) => /^\d+$/.test(name));
  return names.filter((name) => {
    try {
      const stat = readFileSync(path.join(proc, name, 'stat'), 'latin1');
      // proc(5): the name, in parentheses, may hold anything; the state and the parent come after it.
      const [state, of] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && Number(of) === parent;
    } catch {
      // It was buried meanwhile.
      return false;
    }
  }).length;
}
