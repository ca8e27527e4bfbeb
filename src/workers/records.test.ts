import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { lockRuntimeDirectory } from './records.ts';
import type { RuntimeLock } from './records.ts';
import { processRecord } from '../process_lock.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-records-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function lock(): RuntimeLock {
  const outcome = lockRuntimeDirectory(folder);
  assert.ok(outcome.ok);
  return outcome.lock;
}

test('a living owner keeps its directory, and is named', async () => {
  const owner = spawn('sleep', ['1000'], { stdio: 'ignore' });
  writeFileSync(path.join(folder, 'control.json'), JSON.stringify(processRecord(owner.pid ?? 0)));
  assert.deepEqual(lockRuntimeDirectory(folder), { ok: false, holder: `pid ${owner.pid}` });
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  lock().release();
  assert.deepEqual(readdirSync(folder), ['workers']);
});

test('a record that cannot be removed is left: it may not end who only heard of an exit', () => {
  const { remove } = lock();
  rmSync(path.join(folder, 'workers'), { recursive: true });
  writeFileSync(path.join(folder, 'workers'), 'in the way');
  assert.throws(() => rmSync(path.join(folder, 'workers/7.json'), { force: true }));
  remove(7);
});

test('a pid that was given again is no owner', () => {
  const record = { ...processRecord(process.ppid), startTime: 1 };
  writeFileSync(path.join(folder, 'control.json'), JSON.stringify(record));
  lock();
  assert.equal(
    (JSON.parse(readFileSync(path.join(folder, 'control.json'), 'utf8')) as { pid: number }).pid,
    process.pid,
  );
});

test('a torn record is no owner', () => {
  writeFileSync(path.join(folder, 'control.json'), '{"pid":');
  lock();
});

test('reclaims the groups a former owner left, and no other', async () => {
  const [left, innocent] = ['a', 'b'].map(() => spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }));
  assert.ok(left !== undefined && innocent !== undefined);
  const first = lock();
  first.add(left.pid ?? 0);
  first.add(innocent.pid ?? 0);
  const file = path.join(folder, 'workers', `${innocent.pid}.json`);
  const record = JSON.parse(readFileSync(file, 'utf8')) as { startTime: number };
  writeFileSync(file, JSON.stringify({ ...record, startTime: record.startTime - 1 }));
  first.release();

  const ended = once(left, 'exit');
  assert.equal(lock().reclaim(), 1);
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  assert.equal(innocent.signalCode, null);
  innocent.kill('SIGKILL');
  assert.deepEqual(readdirSync(path.join(folder, 'workers')), []);
});
