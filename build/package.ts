/** What npm installs as `proxy`: the bundle, and the Node it was built with, whichever is installed. */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** A package's own dependencies are above it or in it, wherever npm put it; a scope is one folder more. */
const LAUNCHER = `#!/bin/sh
# Runs the bundle by the Node that was installed with it.
here=$(dirname "$(readlink -f "$0")")
for node in "$here"/node_modules/node-*/bin/node "$here"/../node-*/bin/node "$here"/../../node-*/bin/node; do
  [ -x "$node" ] && exec "$node" "$here/proxy.cjs" "$@"
done
echo "proxy: the Node it needs was not installed with it: npm install without --omit=optional" >&2
exit 1
`;

const COPIED = ['README.md', 'SECURITY.md', 'LICENSE'];

export function writePackage(root: string, dist: string, files: readonly string[]): void {
  const folder = path.join(dist, 'package');
  mkdirSync(folder, { recursive: true });
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  const { name, version, description, license, optionalDependencies } = manifest;
  const own = { name, version, description, license, bin: { proxy: 'proxy' }, optionalDependencies };
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(own, null, 2)}\n`);
  writeFileSync(path.join(folder, 'proxy'), LAUNCHER);
  chmodSync(path.join(folder, 'proxy'), 0o755);
  // The pages that the README leads to.
  const pages = readdirSync(path.join(root, 'config')).filter((file) => file.endsWith('.md'));
  mkdirSync(path.join(folder, 'config'), { recursive: true });
  for (const file of [...COPIED, ...pages.map((page) => path.join('config', page))]) {
    copyFileSync(path.join(root, file), path.join(folder, file));
  }
  for (const file of files) copyFileSync(path.join(dist, file), path.join(folder, file));
}
