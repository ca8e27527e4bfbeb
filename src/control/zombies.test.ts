import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { countZombies, watchZombies } from './zombies.ts';
import { silentLogger } from '../log.ts';

test('counts what has ended and is ours to bury, whatever it is called', (t) => {
  const proc = mkdtempSync(path.join(os.tmpdir(), 'proxy-proc-'));
  t.after(() => rmSync(proc, { recursive: true }));
  const stats = {
    1: '1 (node) S 0 1 1 0',
    7: '7 (sleep) Z 1 7 7 0',
    8: '8 (a) Z 5 (b) Z 1 8 8 0',
    9: '9 (sleep) S 1 9 9 0',
    10: '10 (sleep) Z 9 9 9 0',
  };
  for (const [pid, stat] of Object.entries(stats)) {
    mkdirSync(path.join(proc, pid));
    writeFileSync(path.join(proc, pid, 'stat'), stat);
  }
  mkdirSync(path.join(proc, '11'));
  mkdirSync(path.join(proc, 'sys'));
  assert.equal(countZombies(1, proc), 2);
});

test('where we are not PID 1 it is not our affair', () => {
  assert.equal(watchZombies(process.pid, silentLogger, new AbortController().signal).count(), null);
});
