import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createExecHook } from './exec_hook.ts';
import type { RecordEditor } from './dns01.ts';
import { temporaryFolder } from '../../../test/support/daemon.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { isRunning } from '../../../test/support/processes.ts';

const SIGNAL = new AbortController().signal;
const RECORD = { name: '_acme-challenge.a.example', value: 'the-value', zone: 'a.example' };

/** A shell script as the hook; `file` is for it to write to, as $OUT. */
function hook(script: string, timeoutMs = 10_000): Disposable & { editor: RecordEditor; file: string } {
  const folder = temporaryFolder();
  const program = path.join(folder, 'hook.sh');
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
  const file = path.join(folder, 'out');
  const editor = createExecHook({ command: [program, 'first'], timeoutMs, env: { PATH: '/usr/bin:/bin', OUT: file } });
  return { editor, file, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

test('is told what to do by arguments and by environment, and nothing more than it inherits', async () => {
  using one = hook('echo "$@" >> $OUT; env | grep -o "^PROXY_[A-Z_]*=.*" | sort >> $OUT');
  await one.editor.add(RECORD, SIGNAL);
  await one.editor.remove(RECORD);
  const said = (action: string): string => `first ${action} _acme-challenge.a.example the-value
PROXY_DNS_ACTION=${action}
PROXY_DNS_NAME=_acme-challenge.a.example
PROXY_DNS_VALUE=the-value
PROXY_DNS_ZONE=a.example
`;
  assert.equal(readFileSync(one.file, 'utf8'), said('present') + said('cleanup'));
});

test('runs one at a time', async () => {
  using one = hook('test ! -e $OUT || exit 7; echo busy > $OUT; sleep 0.1; rm $OUT');
  await Promise.all([1, 2, 3].map((i) => one.editor.add({ ...RECORD, value: String(i) }, SIGNAL)));
});

test('its failure is told with its exit code and the last lines it wrote', async () => {
  using one = hook('for i in 1 2 3 4 5 6 7; do echo "line $i" >&2; done; exit 3');
  await assert.rejects(one.editor.add(RECORD, SIGNAL), {
    code: 'HOOK_FAILED',
    message: /hook\.sh present _acme-challenge\.a\.example exited with 3: line 3\nline 4\nline 5\nline 6\nline 7$/,
  });
  // One that failed holds up nobody.
  await assert.rejects(one.editor.remove(RECORD), /cleanup .* exited with 3/);
  const missing = createExecHook({ command: ['/nowhere/hook'], timeoutMs: 1_000, env: {} });
  await assert.rejects(missing.add(RECORD, SIGNAL), { code: 'HOOK_FAILED', message: /cannot be run \(.*ENOENT/ });
});

test('one that takes too long is ended with all it started, also when it does not want to', async () => {
  using one = hook('trap "" TERM; sleep 600 & echo $! > $OUT; echo waiting >&2; wait; wait', 300);
  await assert.rejects(one.editor.add(RECORD, SIGNAL), {
    code: 'HOOK_TIMEOUT',
    message: /longer than 300 ms.*: waiting/,
  });
  const child = Number(readFileSync(one.file, 'utf8'));
  await eventually(() => !isRunning(child));
});

test('the end of the order ends it', async () => {
  using one = hook('echo $$ > $OUT; sleep 600');
  const order = new AbortController();
  const added = one.editor.add(RECORD, order.signal);
  await eventually(() => existsSync(one.file) && readFileSync(one.file, 'utf8').endsWith('\n'));
  order.abort(new Error('given up'));
  await assert.rejects(added, /given up/);
  const pid = Number(readFileSync(one.file, 'utf8'));
  await eventually(() => !isRunning(pid));
  await assert.rejects(one.editor.add(RECORD, AbortSignal.abort(new Error('given up'))), /given up/);
});
