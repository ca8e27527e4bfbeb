/** The first commands of the README as they stand there, with all that npm fetches. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { ROOT } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { makeFreshClone } from '../support/fresh_clone.ts';
import { run } from '../support/processes.ts';

export const SUMMARY =
  'a fresh clone: npm ci && npm start serves, the executable is built and installed (1 min; as root)';

const START = 'npm ci && npm start';
const INSTALL = 'npm ci && npm run build && sudo install dist/proxy /usr/local/bin';

export async function prove(): Promise<void> {
  const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  for (const line of [START, INSTALL]) assert.ok(readme.includes(`\n${line} `), `the README has no ${line}`);
  await using fresh = await makeFreshClone();
  const { clone, folder, env } = fresh;
  const seconds = async (line: string): Promise<string> => {
    const began = performance.now();
    const { code, stdout, stderr } = await run('sh', ['-c', line], { cwd: clone, env });
    assert.equal(code, 0, `${line}\n${stdout}${stderr}`);
    return `${((performance.now() - began) / 1000).toFixed(1)} s`;
  };
  // Packages come over the network that this machine has, ports are those of one of its own.
  const [fetching, starting] = START.split(' && ');
  const rows: (readonly [string, string])[] = [[fetching ?? '', await seconds(fetching ?? '')]];

  const began = performance.now();
  const daemon = spawn(...fresh.onMachine(`exec ${starting}`, clone), { env, stdio: 'ignore' });
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  try {
    const page = fresh.onMachine('curl -sk --max-time 5 https://localhost:8443/', clone);
    await eventually(async () => /worker demo\/\d/.test((await run(...page)).stdout), { withinMs: 60_000 });
    rows.push([
      `${starting}, until https://localhost:8443 answers`,
      `${((performance.now() - began) / 1000).toFixed(1)} s`,
    ]);
    const stopped = await run(...fresh.onMachine('npx proxy stop', clone), { env });
    assert.equal(stopped.code, 0, stopped.stderr);
    assert.equal(await exited, 0);
  } finally {
    daemon.kill('SIGKILL');
    await exited;
  }

  // The folder stands for a place that only root may write to.
  const install = INSTALL.replace('sudo ', '').replace('/usr/local/bin', `${folder}/bin`);
  rows.push([INSTALL, await seconds(install)]);
  const { stdout } = await run('sh', ['-c', 'proxy --version'], { cwd: folder, env });
  assert.match(stdout, /^\d+\.\d+\.\d+\+/);
  rows.push(['proxy --version', stdout.trim()]);
  print(formatTable(rows));
}
