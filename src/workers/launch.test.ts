import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { workerEnvironment } from './environment.ts';
import { launchWarnings, launchWorker, LaunchError } from './launch.ts';
import type { Launched, LaunchedService, LaunchOptions } from './launch.ts';
import { eventually } from '../../test/support/eventually.ts';
import { serviceConfig } from '../../test/support/values.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-launch-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function service(command: readonly string[], env: Readonly<Record<string, string>> = {}): LaunchedService {
  return { ...serviceConfig({ directory: folder, env, shownCommand: command }), command };
}

const where = (): Omit<LaunchOptions, 'service'> => ({
  slot: 3,
  generation: 7,
  runtimeDirectory: folder,
  identity: null,
  proxyGid: null,
});

function launch(command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Launched> {
  return launchWorker({ ...where(), service: service(command, env) });
}

async function output({ child }: Launched): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  return text;
}

test('fills in the socket, the port and the slot', async () => {
  const onSocket = await launch([
    'sh',
    '-c',
    'echo "$1 $2 ${PORT-none} $FORWARDED_ALLOW_IPS"',
    'x',
    '{socket}',
    '{slot}',
  ]);
  assert.ok('path' in onSocket.address);
  assert.equal(await output(onSocket), `${onSocket.address.path} 3 none *\n`);
  assert.equal(onSocket.address.path, path.join(folder, 'services/web/3.7.sock'));

  const onPort = await launch(['sh', '-c', 'echo "$1 $PORT $HOST $PROXY_WORKER $FORWARDED_ALLOW_IPS"', 'x', '{port}']);
  assert.ok('port' in onPort.address);
  const { port } = onPort.address;
  assert.equal(await output(onPort), `${port} ${port} 127.0.0.1 web/3 127.0.0.1\n`);
});

test('a worker leads a group of its own, in its directory, its files closed to others', async () => {
  const launched = await launch(['sh', '-c', 'set -- $(cat /proc/$$/stat); echo $5; pwd; umask; touch made']);
  const [group, directory, umask] = (await output(launched)).split('\n');
  assert.equal(Number(group), launched.pid);
  assert.equal(directory, folder);
  assert.equal(umask, '0007');
  assert.equal(statSync(path.join(folder, 'made')).mode & 0o007, 0);
});

test('inherits little, and nothing that would change another process', () => {
  const inherited = {
    PATH: '/bin',
    LANG: 'C',
    NODE_OPTIONS: '--inspect',
    WEB_CONCURRENCY: '9',
    SECRET: 'x',
    PROXY_ROLE: 'proxy',
  };
  const env = workerEnvironment(
    {
      service: service(['a'], { LANG: 'de', MINE: '1' }),
      slot: 0,
      identity: null,
      address: { path: '/a.sock' },
      preset: { MINE: '0', PRESET: '1' },
    },
    inherited,
  );
  assert.deepEqual(Object.keys(env).toSorted(), [
    'FORWARDED_ALLOW_IPS',
    'LANG',
    'MINE',
    'PATH',
    'PRESET',
    'PROXY_WORKER',
    'PYTHONFAULTHANDLER',
    'PYTHONUNBUFFERED',
  ]);
  assert.deepEqual([env['LANG'], env['MINE']], ['de', '1']);
  assert.ok(env['PATH']?.startsWith('/bin:'));
});

test('says why a command cannot be run', async () => {
  await assert.rejects(launch(['no-such-command']), /command not found in PATH: no-such-command/);
  await assert.rejects(launch(['./run.sh']), /not found or not executable: .*run\.sh/);
  await assert.rejects(launch(['no-such-command']), LaunchError);
  await assert.rejects(launchWorker({ ...where(), service: { ...service(['hunter2']), shownCommand: ['***'] } }), {
    code: 'command_not_found',
    message: /^command not found: a variable names it$/,
  });
});

test('what the machine will not start leaves neither its socket nor a descriptor', async () => {
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 3; i++) {
    await assert.rejects(launch(['sh', '-c', 'x'.repeat(300_000), '{fd}']), { code: 'not_started' });
  }
  assert.deepEqual(readdirSync(path.join(folder, 'services/web')), []);
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('fills in placeholders in the environment as well, and knows the socket by them', async () => {
  const launched = await launch(['sh', '-c', 'echo "$AT $WHICH {x}"'], { AT: 'unix:{socket}', WHICH: '{slot}.{gen}' });
  assert.ok('path' in launched.address);
  assert.equal(await output(launched), `unix:${launched.address.path} 3.7 {x}\n`);
});

test('a socket file ends with its worker, one that the operator named does not', async () => {
  const listen = 'net.createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
  const launched = await launch(['node', '-e', listen, '{socket}']);
  await once(launched.child, 'exit');
  assert.ok('path' in launched.address);
  assert.equal(existsSync(launched.address.path), false);

  const own = path.join(folder, 'own.sock');
  writeFileSync(path.join(folder, 'uvicorn'), '#!/bin/sh\n: > "$2"\n', { mode: 0o755 });
  const fixed = await launch(['./uvicorn', '--uds', own]);
  await once(fixed.child, 'exit');
  assert.deepEqual(fixed.address, { path: own });
  assert.ok(existsSync(own));
});

test('a command that is not found suggests the one of the project, or of the machine', async () => {
  mkdirSync(path.join(folder, '.venv/bin'), { recursive: true });
  writeFileSync(path.join(folder, '.venv/bin/serve-it'), '#!/bin/sh\n', { mode: 0o755 });
  await assert.rejects(launch(['serve-it']), {
    code: 'command_not_found',
    message: /did you mean \.venv\/bin\/serve-it\?/,
  });
  await assert.rejects(launch(['.venv/bin/serv-it']), /did you mean \.venv\/bin\/serve-it\?/);
  await assert.rejects(launch(['venv/bin/node']), /did you mean node\?/);
});

test('a worker that wants it finds its socket at descriptor 3, announced to it alone', async () => {
  const tell = 'readlink /proc/$$/fd/3; echo "$1 $LISTEN_FDS $LISTEN_PID $$"; ls /proc/$$/fd';
  const launched = await launch(['sh', '-c', tell, 'x', '{fd}']);
  const [link = '', announced, ...open] = (await output(launched)).split('\n');
  assert.match(link, /^socket:/);
  assert.equal(announced, `3 1 ${launched.pid} ${launched.pid}`);
  // Beside what we got from whoever started us: nothing else, and no second of it.
  const others = (await output(await launch(['sh', '-c', 'ls /proc/$$/fd']))).split('\n');
  assert.deepEqual(open.toSorted(), [...others, '3'].toSorted());
  assert.ok('path' in launched.address);
  assert.equal(launched.address.path, path.join(folder, 'services/web/3.7.sock'));
});

test('fifty workers one after the other, each at a socket it inherits, leave no descriptor and no file', async () => {
  const answer = 'require("http").createServer((q, s) => s.end(String(process.pid))).listen({ fd: 3 })';
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const cycle = async (): Promise<void> => {
    const launched = await launch(['node', '-e', answer, '{fd}']);
    const { address } = launched;
    assert.ok('path' in address);
    const exited = once(launched.child, 'exit');
    const closed = once(launched.child, 'close');
    assert.equal(await eventually(() => ask(address.path)), String(launched.pid));
    process.kill(-launched.pid, 'SIGKILL');
    await exited;
    assert.equal(existsSync(address.path), false);
    await closed;
  };
  await cycle();
  const before = descriptors();
  for (let i = 0; i < 50; i++) await cycle();
  assert.ok(descriptors() <= before + 2, `${before} descriptors became ${descriptors()}`);
  assert.deepEqual(readdirSync(path.join(folder, 'services/web')), []);
});

function ask(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => resolve(text));
    });
    request.once('error', reject);
  });
}

const OWN = serviceConfig().identity;
/** Tells what it was given, then lives on. */
const TELL =
  'umask; ulimit -n; ulimit -c; nice; grep Cpus_allowed_list /proc/self/status; cat /proc/self/oom_score_adj; exec sleep 60';

for (const [how, searchPath] of [
  ['with the programs of util-linux', process.env['PATH'] ?? ''],
  ['without them', '/nowhere'],
] as const) {
  test(`sets umask, limits and priority ${how}, and offers the worker to the OOM killer first`, async () => {
    const before = process.env['PATH'];
    // Found at their places, not through PATH.
    const env = { PATH: '/usr/bin:/bin' };
    const identity = { ...OWN, umask: 0o027, nice: 7, cpuAffinity: '0', rlimits: { nofile: 200, core: 0 } };
    const command = ['/bin/sh', '-c', `sleep 0.2; ${TELL}`];
    const one = { ...service(command, env), identity };
    process.env['PATH'] = searchPath;
    let launched: Launched;
    let warnings: readonly string[];
    try {
      warnings = launchWarnings({ ...where(), service: one });
      launched = await launchWorker({ ...where(), service: one });
    } finally {
      process.env['PATH'] = before;
    }
    try {
      let text = '';
      for await (const chunk of launched.child.stdout) if ((text += String(chunk)).split('\n').length > 6) break;
      const words = text.trim().split(/\s+/);
      assert.deepEqual(words.toSpliced(5, 1), ['0027', '200', '0', '7', 'Cpus_allowed_list:', '500']);
      if (searchPath === '/nowhere') {
        assert.deepEqual(
          warnings.map((warning) => /(\w+)\(1\)/.exec(warning)?.[1]),
          ['taskset', 'prlimit', 'setpriv'],
        );
      } else {
        assert.equal(words[5], '0');
        assert.deepEqual(warnings, []);
      }
    } finally {
      process.kill(-launched.pid, 'SIGKILL');
    }
  });
}

test('a umask that closes the socket to the proxies is warned about', () => {
  const told = (command: string, umask: number): string =>
    launchWarnings({
      service: { ...service([command]), identity: { ...OWN, umask } },
      identity: null,
      proxyGid: 13,
    }).join();
  assert.match(told('{socket}', 0o022), /"umask" may close/);
  assert.equal(told('{socket}', 0o007), '');
  assert.equal(told('{fd}', 0o022), '');
  assert.equal(told('{port}', 0o022), '');
});
