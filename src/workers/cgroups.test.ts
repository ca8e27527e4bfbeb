import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createWorkerCgroups } from './cgroups.ts';
import { createLogger } from '../log.ts';
import { eventually } from '../../test/support/eventually.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-cgroups-'));
after(() => rmSync(folder, { recursive: true }));
const lines: string[] = [];
const log = createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) });
const SELF = 4242;
const OWN = 'sys/fs/cgroup/system.slice/proxy.service';
let trees = 0;

/** A tree of files as the kernel shows them to a unit with `Delegate=yes`. */
function tree(changes: Readonly<Record<string, string | null>> = {}): string {
  const root = path.join(folder, `${trees++}`);
  const files = {
    'proc/self/cgroup': '0::/system.slice/proxy.service\n',
    'sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n',
    [`${OWN}/cgroup.controllers`]: 'memory pids\n',
    [`${OWN}/cgroup.type`]: 'domain\n',
    [`${OWN}/cgroup.subtree_control`]: '',
    [`${OWN}/cgroup.procs`]: `${SELF}\n`,
    ...changes,
  };
  for (const [name, text] of Object.entries(files)) {
    if (text === null) continue;
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
  }
  return root;
}

const PLACE = { service: 'web', slot: 0, generation: 7, memoryMax: 1_000_000 };

test('we move into a leaf, and each worker gets a cgroup with its limit', () => {
  const root = tree();
  const text = (name: string): string => readFileSync(path.join(root, OWN, name), 'utf8').trim();
  const cgroups = createWorkerCgroups(log, root, SELF);
  assert.ok(cgroups.enabled);
  assert.equal(text('_proxy/cgroup.procs'), `${SELF}`);
  assert.equal(text('cgroup.subtree_control'), '+memory');
  cgroups.add(99, PLACE);
  assert.equal(text('web/cgroup.subtree_control'), '+memory');
  assert.equal(text('web/w0.7/cgroup.procs'), '99');
  assert.equal(text('web/w0.7/memory.max'), '1000000');
  assert.equal(text('web/w0.7/memory.oom.group'), '1');
  cgroups.add(100, { ...PLACE, slot: 1, memoryMax: 0 });
  assert.equal(existsSync(path.join(root, OWN, 'web/w1.7/memory.max')), false, 'no limit, none written');
});

test('the kernel’s kills are told of each worker', () => {
  const root = tree();
  const cgroups = createWorkerCgroups(log, root, SELF);
  cgroups.add(99, PLACE);
  assert.equal(cgroups.oomKills(99), null, 'nothing is counted there');
  writeFileSync(path.join(root, OWN, 'web/w0.7/memory.events'), 'low 0\nmax 31\noom 2\noom_kill 2\noom_group_kill 1\n');
  assert.equal(cgroups.oomKills(99), 2);
  assert.equal(cgroups.oomKills(98), null);
});

test('all that is in a worker’s cgroup is killed by one write', () => {
  const root = tree();
  const cgroups = createWorkerCgroups(log, root, SELF);
  cgroups.add(99, PLACE);
  const file = path.join(root, OWN, 'web/w0.7/cgroup.kill');
  cgroups.kill(99);
  assert.equal(existsSync(file), false, 'not where the kernel has no such thing');
  writeFileSync(file, '');
  cgroups.kill(99);
  assert.equal(readFileSync(file, 'utf8').trim(), '1');
});

test('what is not ours to divide is left as it is', () => {
  const cases: Readonly<Record<string, Readonly<Record<string, string | null>>>> = {
    'the root of the machine': { [`${OWN}/cgroup.type`]: null },
    'nothing to divide': { [`${OWN}/cgroup.subtree_control`]: null },
    'somebody else is there': { [`${OWN}/cgroup.procs`]: `${SELF}\n17\n` },
    'version 1': { 'sys/fs/cgroup/cgroup.controllers': null },
  };
  for (const [name, changes] of Object.entries(cases)) {
    const root = tree(changes);
    const cgroups = createWorkerCgroups(log, root, SELF);
    assert.equal(cgroups.enabled, false, name);
    cgroups.add(99, PLACE);
    assert.equal(existsSync(path.join(root, OWN, 'web')), false, name);
    assert.equal(existsSync(path.join(root, OWN, '_proxy')), false, name);
  }
  const withInit = createWorkerCgroups(log, tree({ [`${OWN}/cgroup.procs`]: `1\n${SELF}\n` }), SELF);
  assert.ok(withInit.enabled, 'an init process moves with us');
});

test('without the memory controller workers still have a cgroup each, to end with', () => {
  const root = tree({ [`${OWN}/cgroup.controllers`]: 'pids\n' });
  const cgroups = createWorkerCgroups(log, root, SELF);
  cgroups.add(99, PLACE);
  assert.equal(readFileSync(path.join(root, OWN, 'web/w0.7/cgroup.procs'), 'utf8').trim(), '99');
  assert.equal(existsSync(path.join(root, OWN, 'web/w0.7/memory.max')), false);
});

/** A cgroup of the real kind, with a process in it that may divide it; null where none can be made. */
function realCgroup(): string | null {
  const mount = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((name) =>
    existsSync(path.join(name, 'cgroup.controllers')),
  );
  const own = /^0::(\/.*)$/m.exec(
    existsSync('/proc/self/cgroup') ? readFileSync('/proc/self/cgroup', 'utf8') : '',
  )?.[1];
  if (mount === undefined || own === undefined) return null;
  const made = path.join(mount, own, `proxy-test-${process.pid}`);
  try {
    mkdirSync(made);
    return made;
  } catch {
    return null;
  }
}

test('a process that left its group ends with its worker’s cgroup, and that goes', async (t) => {
  const real = realCgroup();
  if (real === null) return t.skip('no cgroup of version 2 can be made here');
  // What we read is where we would be if we were in it: its files are the kernel's.
  const root = path.join(folder, 'real');
  mkdirSync(path.join(root, 'proc/self'), { recursive: true });
  mkdirSync(path.join(root, 'sys/fs'), { recursive: true });
  const mount = real.startsWith('/sys/fs/cgroup/unified/') ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup';
  symlinkSync(mount, path.join(root, 'sys/fs/cgroup'));
  writeFileSync(path.join(root, 'proc/self/cgroup'), `0::${real.slice(mount.length)}\n`);
  const script = 'setsid sleep 1000 & echo $!; exec sleep 1000';
  const child = spawn('sh', ['-c', `read go; ${script}`], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const cgroups = createWorkerCgroups(log, root);
    assert.ok(cgroups.enabled);
    const group = child.pid ?? 0;
    cgroups.add(group, PLACE);
    child.stdin.write('\n');
    const [data] = (await once(child.stdout, 'data')) as [Buffer];
    const stray = Number(data);
    const isThere = (): boolean =>
      existsSync(`/proc/${stray}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${stray}/status`, 'utf8'));
    assert.ok(isThere());
    process.kill(-group, 'SIGKILL');
    await once(child, 'exit');
    assert.ok(isThere(), 'the end of the group was not its end');
    await cgroups.remove(group);
    await eventually(() => !isThere());
    assert.equal(existsSync(path.join(real, 'web/w0.7')), false);
  } finally {
    child.kill('SIGKILL');
    for (const name of ['web/w0.7', 'web', '_proxy', '']) {
      if (existsSync(path.join(real, name))) rmdirSync(path.join(real, name));
    }
  }
});
