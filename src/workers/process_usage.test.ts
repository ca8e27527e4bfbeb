import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { createGroupUsages } from './process_usage.ts';

const MIB = 1024 * 1024;

test('a group’s memory is that of all its processes, and nobody’s when it is gone', async () => {
  const hold = 'const held = Buffer.alloc(64 * 1024 * 1024, 1); setInterval(() => held.length, 1000);';
  const script = `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(hold)}]); ${hold} console.log('up')`;
  const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const group = child.pid ?? 0;
  try {
    await once(child.stdout, 'data');
    let now = 0;
    const usages = createGroupUsages(() => now);
    const sizes: number[] = [];
    for (let i = 0; i < 100 && (sizes.at(-1) ?? 0) < 128 * MIB; i++) {
      now += 1_000;
      sizes.push(usages.of(group)?.memory ?? 0);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok((sizes.at(-1) ?? 0) >= 128 * MIB, `${sizes.at(-1)}`);
    process.kill(-group, 'SIGKILL');
    await once(child, 'exit');
    assert.equal(usages.of(group)?.memory, sizes.at(-1), 'the last scan is kept for a second');
    now += 1_000;
    assert.equal(usages.of(group)?.memory ?? 0, 0);
  } finally {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // It is gone.
    }
  }
});

test('a group’s CPU time is that of all its processes, and its share that since the scan before', async () => {
  const burn = 'for (const until = Date.now() + 600; Date.now() < until;);';
  const script = `require('child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(burn)}]); console.log('up'); setInterval(() => {}, 1000)`;
  const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const group = child.pid ?? 0;
  try {
    let now = 0;
    const usages = createGroupUsages(() => now);
    const first = usages.of(group);
    assert.equal(first?.cpu, null, 'there is nothing to compare it with');
    await once(child.stdout, 'data');
    now += 10_000;
    const second = usages.of(group);
    const spent = (second?.cpuSeconds ?? 0) - (first?.cpuSeconds ?? 0);
    assert.ok(spent > 0.1, `what its ended child took counts: ${spent} s`);
    assert.equal(second?.cpu, spent / 10);
  } finally {
    process.kill(-group, 'SIGKILL');
  }
});
