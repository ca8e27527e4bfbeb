import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { createGroupMemory } from './process_memory.ts';

const MIB = 1024 * 1024;

test('a group’s memory is that of all its processes, and nobody’s when it is gone', async () => {
  const hold = 'const held = Buffer.alloc(64 * 1024 * 1024, 1); setInterval(() => held.length, 1000);';
  const script = `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(hold)}]); ${hold} console.log('up')`;
  const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const group = child.pid ?? 0;
  try {
    await once(child.stdout, 'data');
    let now = 0;
    const memory = createGroupMemory(() => now);
    const sizes: number[] = [];
    for (let i = 0; i < 100 && (sizes.at(-1) ?? 0) < 128 * MIB; i++) {
      now += 1_000;
      sizes.push(memory.of(group) ?? 0);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok((sizes.at(-1) ?? 0) >= 128 * MIB, `${sizes.at(-1)}`);
    process.kill(-group, 'SIGKILL');
    await once(child, 'exit');
    assert.equal(memory.of(group), sizes.at(-1), 'the last scan is kept for a second');
    now += 1_000;
    assert.equal(memory.of(group) ?? 0, 0);
  } finally {
    try {
      process.kill(-group, 'SIGKILL');
    } catch {
      // It is gone.
    }
  }
});
