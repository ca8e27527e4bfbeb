/** The files for systemd and Supervisor: accepted by their own programs, and run where that is possible. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { serviceUnit, SOCKET_UNIT } from '../src/cli/systemd_units.ts';
import { FIXTURES, freePort, ROOT, startDaemon, temporaryFolder, writeConfig } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { isRunning, processesWith, run } from './support/processes.ts';

const MAIN = path.join(ROOT, 'src/main.ts');
/** What systemd calls "OK"; from 5 on it says "MEDIUM". */
const MOST_EXPOSED = 4.9;

test('config/systemd is what init writes', () => {
  const file = (name: string): string => readFileSync(path.join(ROOT, 'config/systemd', name), 'utf8');
  assert.equal(file('proxy.service'), serviceUnit('/usr/local/bin/proxy', '/etc/proxy/proxy.yaml'));
  assert.equal(file('proxy.socket'), SOCKET_UNIT);
});

test("init --systemd writes a configuration, units that systemd's analyser accepts, and a user", async () => {
  const root = temporaryFolder();
  try {
    mkdirSync(path.join(root, 'etc'));
    const app = ['--host', 'localhost', '--', 'uvicorn', 'main:app'];
    const init = (): Promise<{ code: number | null; stderr: string }> =>
      run(process.execPath, [MAIN, 'init', '--systemd', '--root', root, ...app], { cwd: FIXTURES });
    const written = await init();
    assert.equal(written.code, 0, written.stderr);
    const text = readFileSync(path.join(root, 'etc/proxy/proxy.yaml'), 'utf8');
    assert.match(text, /^user: proxyd$/m);
    assert.match(text, new RegExp(`directory: ${FIXTURES}$`, 'm'));
    assert.match(readFileSync(path.join(root, 'etc/passwd'), 'utf8'), /^proxyd:/m);
    const units = ['proxy.service', 'proxy.socket'].map((name) => path.join(root, 'etc/systemd/system', name));
    const verified = await run('systemd-analyze', ['verify', ...units]);
    assert.equal(verified.code, 0, verified.stderr);
    assert.equal(verified.stderr.trim(), '');
    const security = await run('systemd-analyze', ['security', '--offline=true', units[0] ?? '']);
    const exposure = Number(/exposure level for proxy\.service: ([\d.]+)/.exec(security.stdout)?.[1]);
    assert.ok(exposure <= MOST_EXPOSED, security.stdout);
    const again = await init();
    assert.equal(again.code, 1);
    assert.match(again.stderr, /is there already/);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test("root with the unit's capabilities alone serves, gives workers a user of their own, reloads and stops", async () => {
  const wanted = /^CapabilityBoundingSet=(.*)$/m.exec(serviceUnit('', ''))?.[1] ?? '';
  const bounding = ['-all', ...wanted.split(' ').map((name) => name.replace('CAP_', '+').toLowerCase())].join(',');
  await using daemon = await startDaemon({
    wrapper: ['setpriv', '--bounding-set', bounding, '--inh-caps=-all', '--no-new-privs'],
    config: `
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: 'uvicorn fastapi_app:app', directory: ${FIXTURES}, user: daemon, workers: 1 }
`,
  });
  const answer = await run('curl', ['-sS', '--cacert', daemon.ca, `${daemon.origin}/who`]);
  assert.match(answer.stdout, /"scheme":"https"/, answer.stderr);
  const [worker] = (await daemon.status()).services[0]?.workers ?? [];
  const status = readFileSync(`/proc/${worker?.pid}/status`, 'latin1');
  assert.doesNotMatch(status, /^Uid:\s+0/m);
  assert.match(status, /^CapEff:\s+0+$/m);
  assert.equal((await daemon.verb('reload')).code, 0);
  assert.equal((await daemon.verb('restart', 'web')).code, 0);
  daemon.child.kill('SIGTERM');
  assert.equal(await daemon.exited, 0);
  assert.doesNotMatch(daemon.log(), /EPERM|EACCES/);
});

test('Supervisor starts it, starts it again after kill -9, and stops it with all it started', async () => {
  const folder = temporaryFolder();
  const ports = { http: await freePort(), https: await freePort() };
  const config = `
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: 'node bench_worker.mjs {socket}', directory: FIXTURES, workers: 2, env: { RUN_BY: ${folder} } }
`;
  const file = writeConfig(folder, ports, config, '', '', '127.0.0.1');
  const program = readFileSync(path.join(ROOT, 'config/supervisor/proxy.conf'), 'utf8')
    .replace('/usr/local/bin/proxy', `${process.execPath} ${MAIN}`)
    .replace('/etc/proxy/proxy.yaml', file)
    .replace('/var/log/supervisor/proxy.log', path.join(folder, 'proxy.log'));
  const own = `[supervisord]
nodaemon=true
logfile=${folder}/supervisord.log
pidfile=${folder}/supervisord.pid
childlogdir=${folder}
[unix_http_server]
file=${folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://${folder}/supervisor.sock
`;
  const supervisorFile = path.join(folder, 'supervisord.conf');
  writeFileSync(supervisorFile, own + program);
  const supervisor = spawn('supervisord', ['-c', supervisorFile], { stdio: 'ignore' });
  const exited = new Promise((resolve) => supervisor.once('exit', resolve));
  const control = (...words: readonly string[]) => run('supervisorctl', ['-c', supervisorFile, ...words]);
  const pidOf = async (): Promise<number> => Number((await control('pid', 'proxy')).stdout.trim());
  const serves = async (): Promise<boolean> =>
    (await run('curl', ['-sk', '--max-time', '5', `https://localhost:${ports.https}/`])).stdout.includes('"ok":true');
  try {
    await eventually(serves, { withinMs: 30_000 });
    await eventually(async () => (await control('status', 'proxy')).stdout.includes('RUNNING'));
    const first = await pidOf();
    process.kill(first, 'SIGKILL');
    await eventually(async () => (await pidOf()) !== first && (await serves()), { withinMs: 30_000 });
    const second = await pidOf();
    const stopped = await control('stop', 'proxy');
    assert.match(stopped.stdout, /proxy: stopped/);
    assert.ok(!isRunning(second));
    assert.deepEqual(processesWith('RUN_BY', folder), []);
    assert.match(readFileSync(path.join(folder, 'proxy.log'), 'utf8'), /"event":"stopped"/);
  } finally {
    supervisor.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});
