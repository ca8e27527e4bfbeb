/** What of this machine we may use, as its size and the cgroups around us limit it. Sizes are bytes. */
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export interface MachineMemory {
  readonly limit: number;
  /** What may still be taken, page cache that can be dropped included. */
  readonly available: number;
}

/** Where `/proc` and `/sys` are: another folder only for tests. */
const ROOT = '/';

/** Whole CPUs, 1 or more. */
export function cpuLimit(parallelism = os.availableParallelism(), root = ROOT): number {
  const limits = levels(root, 'cpu').map(({ folder, version }) => {
    if (version === 2) {
      const [quota = '', period = ''] = read(folder, 'cpu.max').split(' ');
      return ratio(quota, period);
    }
    return ratio(read(folder, 'cpu.cfs_quota_us'), read(folder, 'cpu.cfs_period_us'));
  });
  return Math.max(1, Math.floor(Math.min(parallelism, ...limits)));
}

/** The tightest of the machine and the cgroups we are in; null: nothing tells. */
export function readMemory(root = ROOT): MachineMemory | null {
  const all: MachineMemory[] = [];
  const meminfo = read(path.join(root, 'proc'), 'meminfo');
  const [total, available] = ['MemTotal', 'MemAvailable'].map((name) => numberAfter(meminfo, `${name}:`));
  if (total !== undefined && available !== undefined) all.push({ limit: total * 1024, available: available * 1024 });
  for (const { folder, version } of levels(root, 'memory')) {
    const [limits, usage, inactive] =
      version === 2
        ? (['memory.max memory.high', 'memory.current', 'inactive_file'] as const)
        : (['memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'] as const);
    const limit = Math.min(...limits.split(' ').map((name) => positive(read(folder, name))));
    const used = Number(read(folder, usage));
    // Without a limit v2 says "max", v1 a number no machine has.
    if (!(limit < (total ?? Infinity) * 1024) || !Number.isFinite(used)) continue;
    const droppable = numberAfter(read(folder, 'memory.stat'), inactive) ?? 0;
    all.push({ limit, available: Math.max(0, limit - Math.max(0, used - droppable)) });
  }
  if (all.length === 0) return null;
  return all.reduce((a, b) => (b.available < a.available ? b : a));
}

/** How busy the CPUs we may use were since the call before, 0 to 1; null: there was none. */
export function createCpuMeter(): () => number | null {
  let before = cpuTimes();
  return () => {
    const now = cpuTimes();
    const total = now.total - before.total;
    const share = total > 0 ? (now.busy - before.busy) / total : null;
    before = now;
    return share;
  };
}

function cpuTimes(): { readonly busy: number; readonly total: number } {
  let [busy, total] = [0, 0];
  for (const { times } of os.cpus()) {
    const { user, nice, sys, irq, idle } = times;
    busy += user + nice + sys + irq;
    total += user + nice + sys + irq + idle;
  }
  return { busy, total };
}

interface Level {
  readonly folder: string;
  readonly version: 1 | 2;
}

/** Our cgroup and those it is in, of which each may limit us; none where there are none. */
function levels(root: string, controller: 'cpu' | 'memory'): readonly Level[] {
  const mount = path.join(root, 'sys/fs/cgroup');
  const version = existsSync(path.join(mount, 'cgroup.controllers')) ? 2 : 1;
  const line = read(path.join(root, 'proc/self'), 'cgroup')
    .split('\n')
    .map((text) => /^\d+:([^:]*):(.*)$/.exec(text))
    .find((match) => (version === 2 ? match?.[1] === '' : match?.[1]?.split(',').includes(controller)));
  const own = line?.[2];
  if (own === undefined) return [];
  const top = version === 2 ? mount : path.join(mount, controller);
  const found: Level[] = [];
  // Seen from inside a container the path may be the host's, and only what is mounted is there.
  for (let at = path.join('/', own); ; at = path.dirname(at)) {
    const folder = path.join(top, at);
    if (existsSync(folder)) found.push({ folder, version });
    if (at === '/') return found;
  }
}

/** Empty when it cannot be read. */
function read(folder: string, name: string): string {
  try {
    return readFileSync(path.join(folder, name), 'utf8').trim();
  } catch {
    return '';
  }
}

function positive(text: string): number {
  const value = Number(text);
  return text !== '' && value > 0 ? value : Infinity;
}

function ratio(quota: string, period: string): number {
  return positive(quota) / positive(period) || Infinity;
}

function numberAfter(text: string, name: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}\t`));
  const value = Number.parseInt(line?.slice(name.length) ?? '', 10);
  return Number.isNaN(value) ? undefined : value;
}
