/** A cgroup of its own with a memory limit, for what must not take more; of the version this machine has. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { eventually } from './eventually.ts';

export interface MemoryCgroup extends AsyncDisposable {
  /** Words before a command: it and all it starts are in the cgroup. */
  readonly wrapper: readonly string[];
  /** From now on so much above what is in use, if that is less than the limit. */
  tighten(above: number): void;
  /** How many processes the kernel has killed there for want of memory. */
  oomKills(): number;
}

const MOUNT = '/sys/fs/cgroup';
let made = 0;

/** null: none can be made here, by us. */
export function createMemoryCgroup(limit: number): MemoryCgroup | null {
  const isV2 = existsSync(path.join(MOUNT, 'cgroup.controllers'));
  const line = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .find((text) => (isV2 ? text.startsWith('0::') : text.split(':')[1]?.split(',').includes('memory')));
  const own = line?.split(':')[2];
  if (own === undefined) return null;
  const folder = path.join(MOUNT, isV2 ? '' : 'memory', own, `test-${process.pid}-${made++}`);
  const limitFile = path.join(folder, isV2 ? 'memory.max' : 'memory.limit_in_bytes');
  try {
    mkdirSync(folder);
    writeFileSync(limitFile, String(limit));
  } catch {
    if (existsSync(folder)) rmdirSync(folder);
    return null;
  }
  const processes = path.join(folder, 'cgroup.procs');
  return {
    wrapper: ['sh', '-c', `echo $$ > ${processes} && exec "$@"`, 'sh'],
    tighten: (above) => {
      const used = readFileSync(path.join(folder, isV2 ? 'memory.current' : 'memory.usage_in_bytes'), 'utf8');
      writeFileSync(limitFile, String(Math.min(limit, Number(used) + above)));
    },
    oomKills: () => {
      const text = readFileSync(path.join(folder, isV2 ? 'memory.events' : 'memory.oom_control'), 'utf8');
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1]);
    },
    [Symbol.asyncDispose]: async () => {
      await eventually(() => readFileSync(processes, 'utf8') === '');
      rmdirSync(folder);
    },
  };
}
