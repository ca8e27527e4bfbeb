/** What a reader begins with: a fresh clone, on a machine of its own as far as ports, /run and network go. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ROOT, temporaryFolder } from './daemon.ts';
import { run } from './processes.ts';

export interface FreshClone extends AsyncDisposable {
  readonly folder: string;
  /** In it: the clone, and `bin`, which is first in PATH. */
  readonly clone: string;
  readonly env: NodeJS.ProcessEnv;
  /** A line for a shell on that machine, as a command and its arguments. */
  onMachine(line: string, directory: string): readonly [string, readonly string[]];
}

const SET_UP = 'ip link set lo up && mount -t tmpfs tmpfs /run && echo up && exec sleep infinity';

export async function makeFreshClone(): Promise<FreshClone> {
  const folder = temporaryFolder();
  const clone = path.join(folder, 'clone');
  mkdirSync(path.join(folder, 'bin'));
  // Whoever owns the checkout, it is ours to read.
  const trust = { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*' };
  const cloned = await run('git', ['clone', '-q', ROOT, clone], { env: { ...process.env, ...trust } });
  assert.equal(cloned.code, 0, cloned.stderr);
  const machine = spawn('unshare', ['--net', '--mount', 'sh', '-c', SET_UP], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => machine.stdout.once('data', resolve));
  return {
    folder,
    clone,
    env: {
      ...process.env,
      PATH: `${folder}/bin:${process.env['PATH']}`,
      STATE_DIRECTORY: `${folder}/state`,
      PROXY_CONFIG: '',
    },
    onMachine: (line, directory) => [
      'nsenter',
      ['-t', String(machine.pid), '-n', '-m', 'sh', '-c', `cd ${directory} && ${line}`],
    ],
    [Symbol.asyncDispose]: async () => {
      machine.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      return Promise.resolve();
    },
  };
}
