/**
 * A cgroup (version 2) for each worker, where the one we are in has been given to us to divide: what a worker holds has a limit
 * the kernel keeps, it ends with all it started, whatever group those are in, and the kernel says whether it killed there.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';
import { sleep } from '../lifecycle.ts';

/** Processes must be in leaves (cgroups(7), "no internal processes"): this one is for us and the proxies. No service has a `_` first. */
const OURS = '_proxy';
/** The kernel holds a cgroup a moment longer than its last process. */
const REMOVE_MS = [0, 50, 200, 1_000, 5_000];

export interface WorkerPlace {
  readonly service: string;
  readonly slot: number;
  readonly generation: number;
  /** Bytes; 0: no limit. */
  readonly memoryMax: number;
}

export interface WorkerCgroups {
  /** Whether workers get any. */
  readonly enabled: boolean;
  /** The process, which has just been started, and what it will start. */
  add(group: number, place: WorkerPlace): void;
  /** Ends all that is there, at once. */
  kill(group: number): void;
  /** How often the kernel has killed there for want of memory; null: it has no cgroup of its own. */
  oomKills(group: number): number | null;
  /** Ends what is left there, and it with it. */
  remove(group: number): Promise<void>;
}

/** `root` is where `proc` and `sys` are. */
export function createWorkerCgroups(log: Logger, root = '/', self = process.pid): WorkerCgroups {
  const base = takeOwn(log, root, self);
  const folders = new Map<number, string>();

  const write = (folder: string, file: string, value: string | number): void => {
    try {
      writeFileSync(path.join(folder, file), `${value}\n`);
    } catch (error) {
      log.warn('cgroup_not_written', { cgroup: folder, file, reason: describeError(error) });
    }
  };
  const kill = (group: number): void => {
    const folder = folders.get(group);
    // Since Linux 5.14; before that the process group's end must do.
    if (folder !== undefined && existsSync(path.join(folder, 'cgroup.kill'))) write(folder, 'cgroup.kill', 1);
  };

  return {
    enabled: base !== null,
    add: (group, { service, slot, generation, memoryMax }) => {
      if (base === null) return;
      const parent = path.join(base.folder, service);
      const folder = path.join(parent, `w${slot}.${generation}`);
      try {
        mkdirSync(parent, { recursive: true });
        if (base.memory) writeFileSync(path.join(parent, 'cgroup.subtree_control'), '+memory\n');
        // One of a former run would have its limit, and its count of kills.
        if (existsSync(folder)) rmdirSync(folder);
        mkdirSync(folder);
      } catch (error) {
        return log.warn('cgroup_not_made', { cgroup: folder, reason: describeError(error) });
      }
      if (base.memory && memoryMax > 0) {
        write(folder, 'memory.max', memoryMax);
        // Half a worker is of no use.
        write(folder, 'memory.oom.group', 1);
      }
      write(folder, 'cgroup.procs', group);
      folders.set(group, folder);
    },
    kill,
    oomKills: (group) => {
      const folder = folders.get(group);
      const kills = folder === undefined ? null : /^oom_kill (\d+)$/m.exec(read(folder, 'memory.events'));
      return kills === null ? null : Number(kills[1]);
    },
    remove: async (group) => {
      const folder = folders.get(group);
      if (folder === undefined) return;
      kill(group);
      folders.delete(group);
      for (const ms of REMOVE_MS) {
        await sleep(ms);
        try {
          return rmdirSync(folder);
        } catch {
          // EBUSY: somebody there has not ended yet.
        }
      }
      log.warn('cgroup_not_removed', { cgroup: folder });
    },
  };
}

interface Own {
  readonly folder: string;
  /** Whether memory is counted and limited there. */
  readonly memory: boolean;
}

/** Makes the cgroup we are in one that can have workers' in it; null when it is not ours to divide. */
function takeOwn(log: Logger, root: string, self: number): Own | null {
  const mounts = ['sys/fs/cgroup', 'sys/fs/cgroup/unified'].map((name) => path.join(root, name));
  const mount = mounts.find((folder) => existsSync(path.join(folder, 'cgroup.controllers')));
  const own = /^0::(\/.*)$/m.exec(read(path.join(root, 'proc/self'), 'cgroup'))?.[1];
  if (mount === undefined || own === undefined) return null;
  const folder = path.join(mount, own);
  try {
    // The machine's own root has no such file.
    accessSync(path.join(folder, 'cgroup.type'));
    accessSync(path.join(folder, 'cgroup.subtree_control'), constants.W_OK);
  } catch {
    return null;
  }
  const inside = words(read(folder, 'cgroup.procs')).map(Number);
  // Others there were put there by somebody who may not want them moved; an init process that only started us may be.
  if (inside.some((pid) => pid !== self && pid !== 1)) return null;
  try {
    mkdirSync(path.join(folder, OURS), { recursive: true });
    for (const pid of inside) writeFileSync(path.join(folder, OURS, 'cgroup.procs'), `${pid}\n`);
    const memory = words(read(folder, 'cgroup.controllers')).includes('memory');
    if (memory) writeFileSync(path.join(folder, 'cgroup.subtree_control'), '+memory\n');
    return { folder, memory };
  } catch (error) {
    log.warn('cgroup_not_divided', { cgroup: folder, reason: describeError(error) });
    return null;
  }
}

function read(folder: string, name: string): string {
  try {
    return readFileSync(path.join(folder, name), 'utf8');
  } catch {
    return '';
  }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter(Boolean);
}
