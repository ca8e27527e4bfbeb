import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';
import { createGuard } from './guard.ts';
import { sleep, within } from '../lifecycle.ts';
import { readProcessStat } from '../process_lock.ts';

function sleeper(): ChildProcess {
  return spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
}

test('kills every registered group when its pipe ends, and spares those that were removed', async () => {
  const guard = createGuard();
  const [kept, gone] = [sleeper(), sleeper()];
  guard.add(kept.pid ?? 0);
  guard.add(gone.pid ?? 0);
  guard.remove(gone.pid ?? 0);
  const killed = once(kept, 'exit');
  await guard.close();
  assert.deepEqual(await killed, [null, 'SIGKILL']);
  assert.equal(gone.exitCode, null);
  assert.equal(gone.signalCode, null);
  gone.kill('SIGKILL');
});

test('outlives a kill -9 of who started it, long enough to do its work', async () => {
  const script = `
    import { spawn } from 'node:child_process';
    import { createGuard } from '${path.join(import.meta.dirname, 'guard.ts')}';
    const guard = createGuard();
    const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
    guard.add(child.pid);
    console.log(child.pid);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(String(line));
  process.kill(pid, 0);
  parent.kill('SIGKILL');
  const gone = (async () => {
    // A zombie counts as gone: whoever inherits it may take its time to reap it.
    while (readProcessStat(pid) !== null) await sleep(20);
    return true;
  })();
  assert.equal(await within(gone, 2_000, false), true);
});
