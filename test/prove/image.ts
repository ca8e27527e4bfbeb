/** The image, built without an engine, and an app's image made from it, run as an engine would run it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { makeBareRoot } from '../support/bare_root.ts';
import { createBuildah } from '../support/buildah.ts';
import type { ImageConfig } from '../support/buildah.ts';
import { ROOT, temporaryFolder } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { run } from '../support/processes.ts';
import type { Finished } from '../support/processes.ts';

export const SUMMARY =
  "docker/Dockerfile and an app's image from it, by buildah: serves, reloads, ends in time as PID 1, no zombie (5 min; as root)";

/** Where certificates are looked for on a machine whose traffic is looked into; npm must trust them in there, too. */
const EXTRA_ROOTS = process.env['NODE_EXTRA_CA_CERTS'];
const GRACE_MS = 25_000;
const CONFIG = `sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: uvicorn main:app, directory: /srv/app, workers: WORKERS }
`;

export async function prove(): Promise<void> {
  const folder = temporaryFolder();
  const buildah = createBuildah(folder);
  try {
    const root = path.join(folder, 'root');
    await makeBareRoot(root, ['libatomic1', 'tini', 'ca-certificates']);
    const env = EXTRA_ROOTS === undefined ? {} : { NODE_EXTRA_CA_CERTS: '/etc/ssl/extra.pem' };
    if (EXTRA_ROOTS !== undefined) cpSync(EXTRA_ROOTS, path.join(root, 'etc/ssl/extra.pem'), { dereference: true });
    await buildah.importRoot(root, 'localhost/base', {});
    await addNode(root);
    await buildah.importRoot(root, 'localhost/build-base', env);
    rmSync(root, { recursive: true, force: true });

    const args = { BUILD_BASE: 'localhost/build-base', BASE: 'localhost/base' };
    const docker = path.join(ROOT, 'docker');
    await buildah.build({ name: 'localhost/proxy', file: path.join(docker, 'Dockerfile'), context: ROOT, args });
    const context = path.join(docker, 'fastapi');
    await buildah.build({ name: 'localhost/app', file: path.join(context, 'Dockerfile'), context });

    const [base, alone] = [await buildah.mount('localhost/base'), await buildah.mount('localhost/proxy')];
    const [before, after] = [await mebibytes(base), await mebibytes(alone)];
    const config = await buildah.config('localhost/app');
    assert.deepEqual(config.volumes, [], 'nothing is kept where nobody looks');
    assert.equal(config.stopSignal.replace(/^15$/, 'SIGTERM'), 'SIGTERM');
    assert.deepEqual(config.healthcheck, ['CMD', 'proxy', 'health']);
    const figures = await live(await buildah.mount('localhost/app'), config);
    const rows = [
      ['IMAGE, MiB', 'OF IT THE BASE', 'RUN TO FIRST 200, ms', 'TERM TO END, ms'],
      [after, before, figures.firstAnswerMs.toFixed(0), figures.stopMs.toFixed(0)].map(String),
    ];
    print(formatTable(rows));
  } finally {
    await buildah.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A Node with npm at the places the official images have theirs. */
async function addNode(root: string): Promise<void> {
  // …/npm/bin/npm-cli.js
  const npm = path.join(realpathSync((await run('which', ['npm'])).stdout.trim()), '../..');
  const local = path.join(root, 'usr/local');
  mkdirSync(path.join(local, 'lib/node_modules'), { recursive: true });
  cpSync(process.execPath, path.join(local, 'bin/node'));
  cpSync(npm, path.join(local, 'lib/node_modules/npm'), { recursive: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', path.join(local, 'bin/npm'));
}

async function mebibytes(root: string): Promise<number> {
  return Number((await run('du', ['-smx', root])).stdout.split('\t')[0]);
}

/** The container's life: PID 1 of its own, as the image's user, with a network like Docker's. */
async function live(
  root: string,
  config: ImageConfig,
): Promise<{ readonly firstAnswerMs: number; readonly stopMs: number }> {
  const write = (workers: number): void =>
    writeFileSync(path.join(root, 'etc/proxy/proxy.yaml'), CONFIG.replace('WORKERS', String(workers)));
  write(1);
  const [, , uid = '', gid = ''] =
    readFileSync(path.join(root, 'etc/passwd'), 'utf8')
      .split('\n')
      .find((line) => line.startsWith(`${config.user}:`))
      ?.split(':') ?? [];
  assert.ok(Number(uid) > 0, 'it is not root');
  const setUp = `ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start &&
    mount -t proc proc "$0/proc" && exec chroot --userspec=${uid}:${gid} --groups= "$0" /usr/bin/env -i "$@"`;
  const words = ['-C', config.workingDirectory, ...config.environment, ...config.words];
  const begun = performance.now();
  const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child'];
  const child = spawn('unshare', [...namespaces, 'sh', '-c', setUp, root, ...words], { stdio: 'pipe' });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (log += text));
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  try {
    const first = await eventually(() => firstChild(child.pid ?? 0));
    const inside = (...command: readonly string[]): Promise<Finished> => {
      const enter = ['-t', String(first), '--net', '--mount', '--pid', 'chroot', root];
      const user = ['setpriv', '--reuid', uid, '--regid', gid, '--clear-groups', '/usr/bin/env', '-i'];
      return run('nsenter', [...enter, ...user, ...config.environment, ...command]);
    };
    const ca = path.join(root, 'data/internal/root.pem');
    const hello = async (): Promise<boolean> => {
      const curl = ['curl', '-sS', '--cacert', ca, 'https://localhost/'];
      return (await run('nsenter', ['-t', String(first), '--net', ...curl])).stdout === '{"hello":"world"}';
    };
    await eventually(hello, { withinMs: 60_000 });
    const firstAnswerMs = performance.now() - begun;
    const status = readFileSync(`/proc/${first}/status`, 'latin1');
    assert.match(status, /^Name:\s+tini$/m);
    assert.match(status, /^NSpid:.*\t1$/m);
    assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s`, 'm'));
    assert.match(status, /^CapEff:\s+0+$/m);

    const healthy = await inside(...config.healthcheck.slice(1));
    assert.equal(healthy.code, 0, healthy.stderr);
    write(2);
    const reloaded = await inside('proxy', 'reload');
    assert.equal(reloaded.code, 0, reloaded.stderr);
    const workers = async (): Promise<{ state: string; pid: number }[]> => {
      const answer = await inside('proxy', 'status', '--json');
      const { services } = JSON.parse(answer.stdout) as { services: { workers: { state: string; pid: number }[] }[] };
      return services[0]?.workers ?? [];
    };
    const both = async (): Promise<boolean> => (await workers()).filter(({ state }) => state === 'ready').length === 2;
    await eventually(both, { withinMs: 20_000 });

    // One dies of itself, and somebody leaves a child behind.
    await inside('sh', '-c', `kill -9 ${(await workers())[0]?.pid}; sleep 0.2 & exec true`);
    await eventually(both, { withinMs: 20_000 });
    await eventually(async () => (await inside('sh', '-c', 'grep -l "^State:.Z" /proc/[0-9]*/status')).stdout === '');
    assert.ok(await hello());

    const asked = performance.now();
    process.kill(first, 'SIGTERM');
    assert.equal(await exited, 0, log);
    const stopMs = performance.now() - asked;
    assert.ok(stopMs < GRACE_MS, `${stopMs} ms`);
    assert.match(log, /"event":"stopped"/);
    return { firstAnswerMs, stopMs };
  } catch (error) {
    process.stderr.write(log);
    throw error;
  } finally {
    // Its PID 1 outlives `unshare`: a change of user takes back that it dies with its parent. With it all else ends.
    const first = child.exitCode === null ? firstChild(child.pid ?? 0) : undefined;
    if (first !== undefined) process.kill(first, 'SIGKILL');
    child.kill('SIGKILL');
    await exited;
  }
}

function firstChild(pid: number): number | undefined {
  const [child = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
  return child === '' ? undefined : Number(child);
}
