/** A daemon in a cgroup that is its own to divide: each worker has one in it, and what a worker started ends with it. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { isRunning, run } from './support/processes.ts';

/** Says the pid of a process it has started in a session of its own. */
const WORKER = `const { spawn } = require('child_process');
  const stray = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
  require('http').createServer((q, s) => s.end(String(stray.pid))).listen(process.argv[1])`.replaceAll('\n', ' ');

/** null: none of version 2 can be made here. */
function ownCgroup(): (Disposable & { readonly folder: string }) | null {
  const mount = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((name) =>
    existsSync(path.join(name, 'cgroup.controllers')),
  );
  const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  if (mount === undefined || own === undefined) return null;
  const folder = path.join(mount, own, `proxy-daemon-${process.pid}`);
  const remove = (at: string): void => {
    for (const { name } of readdirSync(at, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
      remove(path.join(at, name));
    }
    rmdirSync(at);
  };
  try {
    mkdirSync(folder);
    return { folder, [Symbol.dispose]: () => remove(folder) };
  } catch {
    return null;
  }
}

test('each worker has a cgroup, which ends whatever it started and goes with it', async (t) => {
  using cgroup = ownCgroup();
  if (cgroup === null) return t.skip('no cgroup of version 2 can be made here');
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: ${JSON.stringify(['node', '-e', WORKER, '{socket}'])}, directory: FIXTURES, workers: 1 }
`,
    wrapper: ['sh', '-c', `echo $$ > ${cgroup.folder}/cgroup.procs && exec "$@"`, 'sh'],
  });
  const cgroupOf = (pid: number): string =>
    /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? assert.fail('in no cgroup');
  const name = path.basename(cgroup.folder);
  const { services, proxies } = await daemon.status();
  const pid = services[0]?.workers[0]?.pid ?? 0;
  assert.ok(cgroupOf(pid).endsWith(`/${name}/web/w0.1`), cgroupOf(pid));
  for (const ours of [daemon.pid, proxies[0]?.pid ?? 0]) {
    assert.ok(cgroupOf(ours).endsWith(`/${name}/_proxy`), cgroupOf(ours));
  }
  const stray = Number((await run('curl', ['-sSk', `${daemon.origin}/`])).stdout);
  assert.ok(isRunning(stray));
  assert.equal((await daemon.verb('restart', 'web')).code, 0);
  await eventually(() => !isRunning(stray));
  await eventually(
    () => readdirSync(path.join(cgroup.folder, 'web')).filter((one) => one.startsWith('w')).length === 1,
  );
  const last = Number((await run('curl', ['-sSk', `${daemon.origin}/`])).stdout);
  daemon.child.kill('SIGTERM');
  assert.equal(await daemon.exited, 0);
  await eventually(() => !isRunning(last));
});
