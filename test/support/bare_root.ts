/** A root of Debian's own packages, made by debootstrap, for what must run where neither npm nor Node is. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './daemon.ts';
import { run } from './processes.ts';

const MIRROR = 'http://deb.debian.org/debian';
const NODES = ['usr/bin/node', 'usr/bin/nodejs', 'usr/local/bin/node'];

/** Makes it in `folder`; takes a minute and the network. */
export async function makeBareRoot(folder: string, packages: readonly string[]): Promise<void> {
  const suite = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const words = ['--variant=minbase', `--include=${packages.join(',')}`, suite, folder, MIRROR];
  const { code, stdout, stderr } = await run('debootstrap', words, { env: process.env });
  assert.equal(code, 0, stdout + stderr);
  for (const node of NODES) assert.ok(!existsSync(path.join(folder, node)), node);
  writeFileSync(path.join(folder, 'etc/hosts'), '127.0.0.1 localhost\n');
}

/** As `npm run build` makes it; resolves with the folder of the results. */
export async function buildInto(folder: string): Promise<string> {
  const dist = path.join(folder, 'dist');
  const words = [path.join(ROOT, 'build/build.ts'), '--out', dist];
  const { code, stderr } = await run(process.execPath, words, { env: process.env, cwd: ROOT });
  assert.equal(code, 0, stderr);
  return dist;
}

/** Copies files into a root: `from` → where it is there. */
export function put(root: string, files: Readonly<Record<string, string>>): void {
  for (const [from, to] of Object.entries(files)) {
    const target = path.join(root, to);
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(from, target);
  }
}
