import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { execChain, findTools } from './exec_chain.ts';
import type { ChainOptions, WorkerIdentity } from './exec_chain.ts';

const TOOLS = { setpriv: '/bin/setpriv', prlimit: '/bin/prlimit', taskset: '/bin/taskset' };
const NOTHING = { cpuAffinity: null, rlimits: {} };
/** One that no machine knows by its number. */
const STRANGER: WorkerIdentity = { uid: 54_321, gid: 54_322, name: '54321', groups: null };

function chain(options: Partial<ChainOptions>): ReturnType<typeof execChain> {
  return execChain({ limits: NOTHING, identity: null, listenFds: false, tools: TOOLS, ...options });
}

test('limits are set while we still may, rights are given up next, and the socket is announced last', () => {
  const limits = { cpuAffinity: '0-3', rlimits: { nofile: 9, core: null } };
  const { words, warnings } = chain({ limits, identity: STRANGER, listenFds: true });
  assert.equal(
    words.slice(0, -2).join(' '),
    '/bin/taskset -c 0-3 /bin/prlimit --nofile=9 --core=unlimited -- ' +
      '/bin/setpriv --pdeathsig KILL --reuid 54321 --regid 54322 --clear-groups -- /bin/sh -c',
  );
  assert.deepEqual(warnings, []);
});

test('supplementary groups are those of the user unless they are named, or named to be none', () => {
  const groups = (identity: Partial<WorkerIdentity>): string =>
    chain({ identity: { ...STRANGER, ...identity } }).words.join(' ');
  assert.match(groups({ uid: 0 }), /--init-groups/);
  assert.match(groups({ uid: 0, groups: [] }), /--clear-groups/);
  assert.match(groups({ groups: [7, 8] }), /--groups 7,8 --$/);
});

test('without setpriv the spawn itself changes the user', () => {
  const tools = { ...TOOLS, setpriv: null };
  assert.deepEqual(chain({ tools, identity: STRANGER }).spawnAs, { uid: 54_321, gid: 54_322 });
  assert.equal(chain({ tools }).spawnAs, null);
  assert.equal(chain({ identity: STRANGER }).spawnAs, null);
});

test('a setpriv that cannot do what it is needed for is none', (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-tools-'));
  t.after(() => rmSync(folder, { recursive: true }));
  // As busybox's does for what it does not know.
  writeFileSync(path.join(folder, 'setpriv'), '#!/bin/sh\necho "unrecognized option: pdeathsig" >&2\nexit 1\n');
  chmodSync(path.join(folder, 'setpriv'), 0o755);
  assert.deepEqual(findTools(folder), { setpriv: null, prlimit: null, taskset: null });
});
