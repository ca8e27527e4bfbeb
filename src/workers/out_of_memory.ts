/** Whether the kernel has killed for want of memory, as far as it counts that for us. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const SAMPLE_MS = 5_000;

export interface OutOfMemory {
  /** Whether it has within the last seconds. */
  recently(): boolean;
}

/**
 * `root` is where `proc` and `sys` are. A count of the past says nothing about an end of now, so that it is compared with
 * what it was a moment ago.
 */
export function watchOutOfMemory(signal: AbortSignal, root = '/'): OutOfMemory {
  const file = countingFile(root);
  const read = (): number => (file === null ? 0 : killsIn(file));
  let latest = read();
  let before = latest;
  const timer = setInterval(() => {
    before = latest;
    latest = read();
  }, SAMPLE_MS).unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  return { recently: () => read() > before };
}

/**
 * The cgroup's, with those below it (v2: `memory.events`) or without (v1: `memory.oom_control`), else the machine's. In a
 * container our cgroup may be what is mounted as the root, whatever its path is outside.
 */
export function countingFile(root: string): string | null {
  const mounted = path.join(root, 'sys/fs/cgroup');
  const { unified, memory } = ownCgroups(path.join(root, 'proc/self/cgroup'));
  const candidates = [
    ...(memory === null ? [] : [path.join(mounted, 'memory', memory), path.join(mounted, 'memory')]).map((folder) =>
      path.join(folder, 'memory.oom_control'),
    ),
    ...(unified === null ? [] : [path.join(mounted, unified), mounted]).map((folder) =>
      path.join(folder, 'memory.events'),
    ),
    path.join(root, 'proc/vmstat'),
  ];
  return candidates.find((file) => existsSync(file)) ?? null;
}

function ownCgroups(file: string): { readonly unified: string | null; readonly memory: string | null } {
  let [unified, memory]: (string | null)[] = [null, null];
  try {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      const [, controllers, ...rest] = line.split(':');
      const folder = rest.join(':');
      if (controllers === '') unified = folder;
      else if (controllers?.split(',').includes('memory') === true) memory = folder;
    }
  } catch {
    // No such file: the system has none.
  }
  return { unified: unified ?? null, memory: memory ?? null };
}

function killsIn(file: string): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
