/**
 * What is ours and what strangers reach of it, as it stands while the daemon runs. The rest of it is shown elsewhere:
 * rights of keys and of the admin socket in serving.test.ts, storage/file_storage.test.ts and certs.test.ts; who workers and
 * proxies are, and what a worker may read, signal and trace in identity.test.ts and units.test.ts; links in storage and
 * includes in file_storage.test.ts and include.test.ts; lines of the access log in access_log.test.ts; the admin socket's
 * input in admin_api.test.ts; a service's own environment in launch.test.ts and presets.test.ts.
 */
import assert from 'node:assert/strict';
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { childrenOf, run } from './support/processes.ts';
import { connectRaw } from './support/raw.ts';

const root = process.getuid?.() === 0;
/** Of whoever starts us: nothing a worker has to know, or may be told to do. */
const OURS = {
  SECRET_OF_THE_DAEMON: 'hunter2',
  AWS_SECRET_ACCESS_KEY: 'hunter2',
  NODE_OPTIONS: '--no-deprecation',
  LD_BIND_NOW: '1',
  WEB_CONCURRENCY: '7',
  UV_USE_IO_URING: '0',
};

const CONFIG = `
sites: [{ hosts: [localhost], service: web }]
services: { web: { command: "node worker.mjs {socket}", directory: FIXTURES, workers: 1 } }
`;

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({ config: CONFIG, env: OURS });
});
after(async () => daemon[Symbol.asyncDispose]());

async function workerPid(): Promise<number> {
  return (await daemon.status()).services[0]?.workers[0]?.pid ?? 0;
}

test('others can neither write what is ours, nor read what is kept', () => {
  const problems: string[] = [];
  const look = (place: string, isPrivate: boolean): void => {
    const stats = lstatSync(place);
    if (stats.isSymbolicLink()) return;
    if ((stats.mode & 0o002) !== 0 && !stats.isSocket()) problems.push(`${place} ${stats.mode.toString(8)}`);
    if (isPrivate && (stats.mode & 0o077) !== 0) problems.push(`${place} ${stats.mode.toString(8)}`);
    if (stats.isDirectory()) for (const name of readdirSync(place)) look(path.join(place, name), isPrivate);
  };
  look(path.join(daemon.folder, 'run'), false);
  assert.equal(lstatSync(path.join(daemon.folder, 'run/code')).mode & 0o777, 0o700);
  for (const name of readdirSync(path.join(daemon.folder, 'state/certificates'))) {
    look(path.join(daemon.folder, 'state/certificates', name), true);
  }
  assert.deepEqual(problems, []);
});

test('a runtime directory that others can write, or that leads elsewhere, is refused: its code runs before rights are dropped', async () => {
  const wrong: readonly (readonly [what: string, make: (run: string, folder: string) => void])[] = [
    [
      'is writable',
      (run) => {
        mkdirSync(run);
        chmodSync(run, 0o777);
      },
    ],
    [
      'is a symbolic link',
      (run, folder) => {
        mkdirSync(path.join(folder, 'elsewhere'));
        symlinkSync(path.join(folder, 'elsewhere'), run);
      },
    ],
  ];
  for (const [what, make] of wrong) {
    const folder = temporaryFolder();
    make(path.join(folder, 'run'), folder);
    await using refused = await startDaemon({ config: CONFIG, folder, started: false });
    assert.equal(await refused.exited, 1, what);
    assert.match(refused.log(), new RegExp(`^proxy: runtime_directory \\S+/run ${what}[^\\n]*\\n$`), what);
    rmSync(folder, { recursive: true });
  }
});

test('a link in the place of the admin socket is replaced, and what it leads to stays', async () => {
  const folder = temporaryFolder();
  const target = path.join(folder, 'shared/precious');
  mkdirSync(path.join(folder, 'run'), { mode: 0o711 });
  mkdirSync(target);
  symlinkSync(target, path.join(folder, 'run/admin.sock'));
  {
    await using other = await startDaemon({ config: CONFIG, folder });
    assert.ok(lstatSync(path.join(folder, 'run/admin.sock')).isSocket());
    assert.ok(lstatSync(target).isDirectory());
    assert.equal((await other.verb('health')).code, 0);
  }
  rmSync(folder, { recursive: true });
});

const HOSTILE_TOKENS = [
  '',
  '.',
  '..',
  '../internal/root.key',
  '../../internal/root.key',
  '../../../../../../../../etc/passwd',
  '..%2f..%2finternal%2froot.key',
  '%2e%2e/%2e%2e/internal/root.key',
  '%2e%2e%2f%2e%2e%2finternal%2froot.key',
  '%252e%252e%252finternal%252froot.key',
  '..%5c..%5cinternal%5croot.key',
  '..\\..\\internal\\root.key',
  '....//....//internal/root.key',
  '..;/..;/internal/root.key',
  '.%00./internal/root.key',
  'root.key%00',
  '..%c0%af..%c0%afinternal/root.key',
  '..%ef%bc%8finternal',
  '//etc/passwd',
  '%2fetc%2fpasswd',
  'file:///etc/passwd',
  'token/../../../internal/root.key',
  '__proto__',
  'constructor',
  'x'.repeat(4_000),
  '*',
  '$(id)',
  '%0d%0aX-Injected:%201',
  'a?b=../../internal/root.key',
];

test('no token of a stranger leads http-01 to a file, out of its folder or into an answer', async () => {
  for (const token of HOSTILE_TOKENS) {
    using client = await connectRaw(daemon, { plain: true });
    client.send(`GET /.well-known/acme-challenge/${token} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    const answer = await client.closed();
    assert.match(answer, /^HTTP\/1\.1 (?:308|400|404|414|431) /, JSON.stringify(token));
    assert.doesNotMatch(answer, /PRIVATE KEY|root:x:|^X-Injected/im, JSON.stringify(token));
  }
  assert.equal((await daemon.verb('health', '--ready')).code, 0);
});

test('what strangers and workers write is neither an event of ours nor seen by a terminal', async () => {
  const forged = '{"time":"2026-01-01T00:00:00.000Z","level":"error","event":"forged"}';
  const hostile = `\u001b[2J\u009b31m\u202e${forged}`;
  using client = await connectRaw(daemon);
  client.send(
    `GET /say?what=${encodeURIComponent(`\u001b]0;owned\u0007${forged}\r${forged}`)} HTTP/1.1\r\nHost: localhost\r\n` +
      `User-Agent: ${Buffer.from(hostile).toString('latin1').replaceAll('\u001b', '')}\r\nReferer: ${forged}\r\n` +
      `X-Request-Id: ${forged}\r\nTraceparent: ${forged}\r\nConnection: close\r\n\r\n`,
  );
  assert.match(await client.closed(), /^HTTP\/1\.1 200 /);
  using smuggler = await connectRaw(daemon);
  smuggler.send(`GET / HTTP/1.1\r\nHost: localhost\r\nX: a\u001b[2J\n\n${forged}\r\n\r\n`);
  await smuggler.closed();
  const said = async (): Promise<boolean> => (await daemon.verb('logs', 'web')).stdout.includes('owned');
  await eventually(said, { withinMs: 15_000 });
  const lines = daemon.log().trimEnd().split('\n');
  for (const line of lines) assert.match(line, /^\{"time":[\x20-\x7e\u00a0-\u{10ffff}]*\}$/u);
  assert.deepEqual(daemon.events('forged'), []);
  for (const words of [['logs'], ['logs', '--json'], ['status']]) {
    const { stdout } = await daemon.verb(...words);
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/, words.join(' '));
    assert.doesNotMatch(stdout, /^\{[^\n]*"event":"forged"/m);
  }
});

test('a worker has nothing of our environment but what any program needs, and nothing open of ours', async () => {
  const pid = await workerPid();
  const names = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').filter(Boolean);
  for (const name of Object.keys(OURS)) assert.ok(!names.some((entry) => entry.startsWith(`${name}=`)), name);
  for (const entry of names) assert.doesNotMatch(entry, /hunter2|^(?:NODE_|PROXY_ROLE|NOTIFY_SOCKET|LISTEN_)/);
  const inodes = (of: number): string[] =>
    readdirSync(`/proc/${of}/fd`).flatMap((fd) => {
      try {
        const target = readlinkSync(`/proc/${of}/fd/${fd}`);
        return target.startsWith('socket:') ? [target] : [];
      } catch {
        return [];
      }
    });
  const ours = new Set(inodes(daemon.pid));
  assert.ok(ours.size > 2);
  // Its output is all it shares with us, each end of its own.
  assert.deepEqual(
    inodes(pid).filter((socket) => ours.has(socket)),
    [],
  );
});

test('no secret stands in the arguments or the environment of any process of ours', async () => {
  const { stdout } = await run('cat', [path.join(daemon.folder, 'state/internal/root.key')]);
  const secret = stdout.split('\n')[1] ?? '';
  assert.ok(secret.length > 20);
  for (const pid of [daemon.pid, ...childrenOf(daemon.pid), await workerPid()]) {
    for (const file of ['cmdline', 'environ']) {
      assert.ok(!readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(secret), `${pid} ${file}`);
    }
  }
});

test('proxies started by root have no right of it left, and none to get it back', { skip: !root }, async () => {
  const { proxies } = await daemon.status();
  assert.ok(proxies.length >= 2);
  for (const { pid } of proxies) {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    assert.match(status, /^Uid:\s+([1-9]\d*)\s+\1\s+\1\s+\1$/m);
    assert.match(status, /^Gid:\s+([1-9]\d*)\s+\1\s+\1\s+\1$/m);
    for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'])
      assert.match(status, new RegExp(`^${set}:\\s+0+$`, 'm'));
    // Threads that were there before it dropped its rights have dropped them, too.
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      assert.match(readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1'), /^CapEff:\s+0+$/m);
    }
  }
});
