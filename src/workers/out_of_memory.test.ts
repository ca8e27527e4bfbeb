import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { countingFile, watchOutOfMemory } from './out_of_memory.ts';

/** A folder with these files, by their paths. */
function tree(t: { after(done: () => void): void }, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(path.join(os.tmpdir(), 'proxy-cgroups-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.join(root, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  return root;
}

const EVENTS = 'low 0\nhigh 3\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n';
const VMSTAT = 'nr_free_pages 5\noom_kill 4\n';
const CASES: readonly (readonly [string, Readonly<Record<string, string>>, string | null])[] = [
  [
    'cgroup v2: our own',
    {
      'proc/self/cgroup': '0::/system.slice/proxy.service\n',
      'sys/fs/cgroup/system.slice/proxy.service/memory.events': EVENTS,
      'proc/vmstat': VMSTAT,
    },
    'sys/fs/cgroup/system.slice/proxy.service/memory.events',
  ],
  [
    'cgroup v2 in a container: what is mounted',
    {
      'proc/self/cgroup': '0::/../../docker/abc\n',
      'sys/fs/cgroup/memory.events': EVENTS,
    },
    'sys/fs/cgroup/memory.events',
  ],
  [
    'cgroup v1',
    {
      'proc/self/cgroup': '9:cpu,cpuacct:/x\n8:memory:/docker/abc\n0::/docker/abc\n',
      'sys/fs/cgroup/memory/docker/abc/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n',
    },
    'sys/fs/cgroup/memory/docker/abc/memory.oom_control',
  ],
  [
    'cgroup v1 in a container',
    {
      'proc/self/cgroup': '8:memory:/docker/abc\n',
      'sys/fs/cgroup/memory/memory.oom_control': 'oom_kill 1\n',
    },
    'sys/fs/cgroup/memory/memory.oom_control',
  ],
  [
    'the root cgroup counts nothing: the machine',
    { 'proc/self/cgroup': '0::/\n', 'proc/vmstat': VMSTAT },
    'proc/vmstat',
  ],
  ['a system without cgroups', { 'proc/vmstat': VMSTAT }, 'proc/vmstat'],
  ['a system without anything', {}, null],
];

for (const [what, files, expected] of CASES) {
  test(`${what} is where kills are counted`, (t) => {
    const root = tree(t, files);
    assert.equal(countingFile(root), expected === null ? null : path.join(root, expected));
  });
}

test('tells kills of now, and not those of the past', (t) => {
  const events = 'sys/fs/cgroup/memory.events';
  const root = tree(t, { 'proc/self/cgroup': '0::/\n', [events]: EVENTS });
  const over = new AbortController();
  t.after(() => over.abort());
  t.mock.timers.enable({ apis: ['setInterval'] });
  const watch = watchOutOfMemory(over.signal, root);
  assert.equal(watch.recently(), false);
  writeFileSync(path.join(root, events), EVENTS.replace('oom_kill 1', 'oom_kill 2'));
  assert.equal(watch.recently(), true);
  t.mock.timers.tick(5_000);
  assert.equal(watch.recently(), true);
  t.mock.timers.tick(5_000);
  assert.equal(watch.recently(), false);
  rmSync(path.join(root, events));
  assert.equal(watch.recently(), false);
});
