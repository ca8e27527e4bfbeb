import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { cpuLimit, createCpuMeter, readMemory } from './machine.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-machine-'));
after(() => rmSync(folder, { recursive: true }));

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const MEMINFO = `MemTotal:       ${(8 * GIB) / 1024} kB\nMemFree:  1 kB\nMemAvailable:    ${(6 * GIB) / 1024} kB\n`;
let trees = 0;

/** A tree of files as the kernel shows them. */
function tree(files: Readonly<Record<string, string>>): string {
  const root = path.join(folder, `${trees++}`);
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return root;
}

test('without cgroups the machine is all there is', () => {
  const root = tree({ 'proc/meminfo': MEMINFO });
  assert.equal(cpuLimit(8, root), 8);
  assert.deepEqual(readMemory(root), { limit: 8 * GIB, available: 6 * GIB });
  assert.equal(readMemory(tree({ 'proc/nothing': '' })), null);
});

test('cgroup v2: the tightest of our cgroup and those around it counts, without page cache that can be dropped', () => {
  const v2 = {
    'proc/meminfo': MEMINFO,
    'proc/self/cgroup': '0::/system.slice/proxy.service\n',
    'sys/fs/cgroup/cgroup.controllers': 'cpu memory\n',
    'sys/fs/cgroup/system.slice/cpu.max': '250000 100000\n',
    'sys/fs/cgroup/system.slice/memory.max': `${GIB}\n`,
    'sys/fs/cgroup/system.slice/memory.high': 'max\n',
    'sys/fs/cgroup/system.slice/memory.current': `${900 * MIB}\n`,
    'sys/fs/cgroup/system.slice/memory.stat': `anon 1\ninactive_file ${100 * MIB}\nactive_file 5\n`,
    'sys/fs/cgroup/system.slice/proxy.service/cpu.max': 'max 100000\n',
    'sys/fs/cgroup/system.slice/proxy.service/memory.max': 'max\n',
    'sys/fs/cgroup/system.slice/proxy.service/memory.high': 'max\n',
    'sys/fs/cgroup/system.slice/proxy.service/memory.current': `${100 * MIB}\n`,
  };
  assert.equal(cpuLimit(8, tree(v2)), 2);
  assert.deepEqual(readMemory(tree(v2)), { limit: GIB, available: 224 * MIB });
  const tighter = { ...v2, 'sys/fs/cgroup/system.slice/proxy.service/memory.high': `${200 * MIB}\n` };
  assert.deepEqual(readMemory(tree(tighter)), { limit: 200 * MIB, available: 100 * MIB });
  const tiny = { ...v2, 'sys/fs/cgroup/system.slice/proxy.service/cpu.max': '50000 100000\n' };
  assert.equal(cpuLimit(8, tree(tiny)), 1);
});

test('cgroup v1: limits are in a tree of each controller, and a container sees the host’s path', () => {
  const v1 = {
    'proc/meminfo': MEMINFO,
    'proc/self/cgroup': '5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n',
    'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '300000\n',
    'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': `${512 * MIB}\n`,
    'sys/fs/cgroup/memory/memory.usage_in_bytes': `${300 * MIB}\n`,
    'sys/fs/cgroup/memory/memory.stat': `inactive_file 1\ntotal_inactive_file ${50 * MIB}\n`,
  };
  assert.equal(cpuLimit(8, tree(v1)), 3);
  assert.equal(cpuLimit(2, tree(v1)), 2, 'never more than there are');
  assert.deepEqual(readMemory(tree(v1)), { limit: 512 * MIB, available: 262 * MIB });
  const unlimited = {
    ...v1,
    'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
  };
  assert.equal(cpuLimit(8, tree(unlimited)), 8);
  assert.deepEqual(readMemory(tree(unlimited)), { limit: 8 * GIB, available: 6 * GIB });
});

test('this machine tells of itself', () => {
  const memory = readMemory();
  assert.ok(memory !== null && memory.limit <= os.totalmem() && memory.available <= memory.limit);
  assert.ok(cpuLimit() >= 1 && cpuLimit() <= os.availableParallelism());
  const meter = createCpuMeter();
  for (const until = Date.now() + 100; Date.now() < until;);
  const share = meter();
  assert.ok(share !== null && share > 0 && share <= 1, `${share}`);
});
