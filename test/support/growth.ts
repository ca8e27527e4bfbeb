/** Whether processes that run on and on grow: their memory and open files in each third of the time. */
import type { Daemon } from './daemon.ts';
import { openFiles, residentBytes } from './processes.ts';
import { sleep } from '../../src/lifecycle.ts';

export interface Growth {
  readonly name: string;
  /** Means of each third of the time: resident bytes, files and sockets. */
  readonly memory: readonly number[];
  readonly files: readonly number[];
}

/** Of the control plane and its proxies, until `signal` aborts. */
export async function watchGrowth(daemon: Daemon, signal: AbortSignal, everyMs = 500): Promise<Growth[]> {
  const { proxies } = await daemon.status();
  const watched = [
    { name: 'the control plane', pid: daemon.pid },
    ...proxies.map(({ slot, pid }) => ({ name: `proxy ${slot}`, pid: pid ?? 0 })),
  ].map((each) => ({ ...each, memory: [] as number[], files: [] as number[] }));
  while (!signal.aborted) {
    for (const { pid, memory, files } of watched) {
      memory.push(residentBytes(pid));
      files.push(openFiles(pid));
    }
    await sleep(everyMs, signal);
  }
  return watched.map(({ name, memory, files }) => ({ name, memory: thirds(memory), files: thirds(files) }));
}

/** By how much the last third is above both before. */
export function grownBy([first = 0, second = 0, last = 0]: readonly number[]): number {
  return last - Math.max(first, second);
}

function thirds(samples: readonly number[]): number[] {
  const third = Math.floor(samples.length / 3);
  return [0, 1, 2].map((i) => {
    const part = samples.slice(i * third, (i + 1) * third);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}
