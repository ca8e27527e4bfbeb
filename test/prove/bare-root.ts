/** The executable alone, in a root without Node: an own app over HTTPS by two commands, with a real CA. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { buildInto, makeBareRoot, put } from '../support/bare_root.ts';
import { FIXTURES, temporaryFolder } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { isOwnNetwork, repeatInOwnNetwork } from '../support/own_network.ts';
import { startPebble } from '../support/pebble.ts';
import { run } from '../support/processes.ts';
import type { Finished } from '../support/processes.ts';

export const SUMMARY =
  'the executable in a bare Debian: HTTPS by two commands, certificates of a CA, renewed, healthy (2 min; as root)';

/** Handed to the second half of this proof, which runs in a network of its own. */
const FOLDER = 'BARE_ROOT_FOLDER';
const NAME = 'app.example.com';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export async function prove(): Promise<void> {
  if (isOwnNetwork()) return serve(process.env[FOLDER] ?? '');
  const folder = temporaryFolder();
  try {
    const root = path.join(folder, 'root');
    await makeBareRoot(root, ['libatomic1', 'uvicorn', 'python3-fastapi', 'python3-multipart']);
    const dist = await buildInto(folder);
    put(root, {
      [path.join(dist, 'proxy')]: 'usr/local/bin/proxy',
      [path.join(FIXTURES, 'fastapi_app.py')]: 'srv/app/main.py',
    });
    process.env[FOLDER] = folder;
    assert.equal(repeatInOwnNetwork(), 0, 'the second half of it');
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function serve(folder: string): Promise<void> {
  const root = path.join(folder, 'root');
  await using pebble = await startPebble({ httpPort: 80, tlsPort: 443 });
  put(root, { [pebble.trustedRoot]: 'etc/ssl/pebble.pem' });
  const issuerRoot = path.join(folder, 'issuer.pem');
  writeFileSync(issuerRoot, await pebble.issuerRoot());
  const inside = (...words: readonly string[]): readonly string[] => {
    const env = ['-i', '-C', '/srv/app', `PATH=${PATH}`, 'NODE_EXTRA_CA_CERTS=/etc/ssl/pebble.pem'];
    // /proc is what tells a pid's owner and start; without it nothing can be reclaimed.
    const mounts = `mount -t proc proc "$0/proc" && exec chroot "$0" /usr/bin/env "$@"`;
    return ['--mount', 'sh', '-c', mounts, root, ...env, ...words];
  };
  const proxy = (...words: readonly string[]): Promise<Finished> => run('unshare', inside('proxy', ...words));
  const who = (): Promise<Finished> =>
    run('curl', ['-sS', '--cacert', issuerRoot, '--resolve', `${NAME}:443:127.0.0.1`, `https://${NAME}/who`]);
  const flags = ['--host', NAME, '--email', 'me@example.com', '--agree-tos', '--ca', pebble.directoryUrl];
  const app = ['--', 'uvicorn', 'main:app'];

  const started = performance.now();
  await using first = start(inside('proxy', 'run', ...flags, ...app));
  await eventually(async () => (await who()).stdout.includes('"scheme":"https"'), { withinMs: 60_000 });
  const firstAnswerMs = performance.now() - started;
  const version = (await proxy('--version')).stdout.trim();
  const health = await proxy('health', '--ready');
  assert.equal(health.code, 0, health.stdout + health.stderr);
  assert.equal(pebble.issued(), 1);
  const renewed = await proxy('renew', '--force');
  assert.equal(renewed.code, 0, renewed.stdout + renewed.stderr);
  assert.equal(pebble.issued(), 2);
  assert.match((await who()).stdout, /"scheme":"https"/);
  await first.stop();

  const written = await proxy('init', ...flags, ...app);
  assert.equal(written.code, 0, written.stderr);
  await using second = start(inside('proxy', 'run'));
  await eventually(async () => (await who()).stdout.includes('"scheme":"https"'), { withinMs: 60_000 });
  assert.equal((await proxy('health', '--ready')).code, 0);
  assert.equal(pebble.issued(), 2, 'what is kept is served');
  await second.stop();
  const rows = [
    ['VERSION', 'COMMAND TO FIRST 200, WITH THE ORDER, ms', 'CERTIFICATES'],
    [version, firstAnswerMs.toFixed(0), String(pebble.issued())],
  ];
  print(formatTable(rows));
}

interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Ends it as an operator would. */
  stop(): Promise<void>;
}

function start(words: readonly string[]): Running {
  const child = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (log += text));
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  let stopped = false;
  return {
    child,
    stop: async () => {
      child.kill('SIGTERM');
      assert.equal(await exited, 0, log);
      stopped = true;
    },
    [Symbol.asyncDispose]: async () => {
      if (stopped) return;
      process.stderr.write(log);
      child.kill('SIGKILL');
      await exited;
    },
  };
}
