/** What `npm run build` makes, run where no Node is: one executable, and the package npm installs. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildInto } from './support/bare_root.ts';
import { FIXTURES, freePort, ROOT, startDaemon, temporaryFolder } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { bundle } from '../build/bundle.ts';
import { readManifest } from '../build/notices.ts';
import { billOfMaterials } from '../build/sbom.ts';

/** No folder of it has a Node. */
const NO_NODE = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
const folder = temporaryFolder();
const dist = path.join(folder, 'dist');
const program = path.join(dist, 'proxy');

before(() => buildInto(folder));
after(() => rmSync(folder, { recursive: true, force: true }));

test('the same sources give the same bundle and bill of materials', async () => {
  const { code, id, packages } = await bundle(ROOT);
  assert.equal(code, readFileSync(path.join(dist, 'proxy.cjs'), 'utf8'));
  const version = `${readManifest(ROOT).version}+${id}`;
  const all = [...packages, 'node_modules/uplot'].toSorted();
  assert.equal(billOfMaterials(ROOT, all, version), readFileSync(path.join(dist, 'sbom.cdx.json'), 'utf8'));
});

test('the executable says its version and build, the licences of what is in it, and what it can do', async () => {
  const version = await run(program, ['--version'], { env: NO_NODE });
  assert.match(version.stdout, /^\d+\.\d+\.\d+\+[0-9a-f]{12}\n$/);
  const { stdout } = await run(program, ['licenses'], { env: NO_NODE });
  for (const name of ['undici', 'httpxy', 'zod', 'acme-client', 'uplot', 'Node.js'])
    assert.match(stdout, new RegExp(`^${name} `, 'm'));
  const bill = JSON.parse(readFileSync(path.join(dist, 'sbom.cdx.json'), 'utf8')) as {
    components: { name: string; version: string }[];
    metadata: { component: { version: string } };
  };
  const names = bill.components.map(({ name }) => name);
  for (const name of ['undici', 'httpxy', 'zod', 'acme-client', 'node']) assert.ok(names.includes(name), name);
  for (const name of ['esbuild', 'typescript', 'oxlint']) assert.ok(!names.includes(name), name);
  assert.equal(`${bill.metadata.component.version}\n`, version.stdout);
  assert.equal((await run(program, ['--help'], { env: NO_NODE })).code, 0);
});

test('every verb of the executable finds what it reads', async () => {
  const file = path.join(ROOT, 'config/proxy.yaml');
  const source = await run(process.execPath, [path.join(ROOT, 'src/main.ts'), 'schema']);
  assert.equal((await run(program, ['schema'], { env: NO_NODE })).stdout, source.stdout);
  const validated = await run(program, ['validate', '--effective', '-c', file], { env: NO_NODE });
  assert.equal(validated.code, 0, validated.stderr);
  const status = await run(program, ['status', '--socket', path.join(folder, 'none')], { env: NO_NODE });
  assert.notEqual(status.code, 0);
});

test('the executable serves over HTTPS what a Python worker says, also with proxies started after it was replaced', async () => {
  const copy = path.join(folder, 'upgraded');
  mkdirSync(copy);
  const installed = path.join(copy, 'proxy');
  copyFileSync(program, installed);
  const metrics = await freePort();
  await using daemon = await startDaemon({
    program: [installed],
    env: NO_NODE,
    config: `metrics: { address: "127.0.0.1:${metrics}" }
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: '/usr/bin/uvicorn fastapi_app:app --uds {socket}', directory: ${FIXTURES}, workers: 1 }
`,
  });
  const answers = async (): Promise<void> => {
    const { code, stdout, stderr } = await run('curl', ['-sS', '--cacert', daemon.ca, `${daemon.origin}/who`]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /"scheme":"https"/);
  };
  await answers();
  for (const [file, expected] of [
    ['', /<title>proxy/],
    ['dashboard/page.ts', /EventSource/],
    ['dashboard/uplot.js', /uPlot/],
  ] as const) {
    const { stdout } = await run('curl', ['-sSf', `http://127.0.0.1:${metrics}/${file}`]);
    assert.match(stdout, expected);
  }
  // As a package manager does: another file takes the place of the one that runs.
  copyFileSync('/bin/false', `${installed}.new`);
  renameSync(`${installed}.new`, installed);
  const [first] = (await daemon.status()).proxies;
  assert.ok(first?.pid);
  process.kill(first.pid, 'SIGKILL');
  await eventually(async () => {
    const now = (await daemon.status()).proxies.find(({ slot }) => slot === first.slot);
    return now?.state === 'ready' && now.pid !== first.pid;
  });
  await answers();
  daemon.child.kill('SIGTERM');
  assert.equal(await daemon.exited, 0);
});

test('npm installs the bundle as proxy, with the Node it needs', async () => {
  const packed = await run('npm', ['pack', '--silent', path.join(dist, 'package')], { cwd: folder, env: process.env });
  assert.equal(packed.code, 0, packed.stderr);
  const prefix = path.join(folder, 'installed');
  const tarball = path.join(folder, packed.stdout.trim());
  const install = ['install', '--global', '--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund', tarball];
  const installed = await run('npm', install, { env: process.env });
  assert.equal(installed.code, 0, installed.stderr);
  const proxy = path.join(prefix, 'bin/proxy');
  const { stdout, stderr } = await run(proxy, ['--version'], { env: NO_NODE });
  assert.equal(stdout, (await run(program, ['--version'])).stdout, stderr);
  assert.match((await run(proxy, ['licenses'], { env: NO_NODE })).stdout, /^undici /m);
  assert.ok(!existsSync(path.join(prefix, 'lib/node_modules/@edge-and-workers/proxy/node_modules/undici')));
});
