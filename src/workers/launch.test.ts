import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { launchWorker, LaunchError, workerEnvironment } from './launch.ts';
import type { Launched, LaunchedService } from './launch.ts';
import { serviceConfig } from '../../test/support/values.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-launch-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function service(command: readonly string[], env: Readonly<Record<string, string>> = {}): LaunchedService {
  return { ...serviceConfig({ directory: folder, env }), command };
}

function launch(command: readonly string[]): Promise<Launched> {
  const where = { slot: 3, generation: 7, runtimeDirectory: folder, identity: null, proxyGid: null };
  return launchWorker({ ...where, service: service(command) });
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
    { service: service(['a'], { LANG: 'de', MINE: '1' }), slot: 0, identity: null },
    null,
    inherited,
  );
  assert.deepEqual(Object.keys(env).toSorted(), [
    'FORWARDED_ALLOW_IPS',
    'LANG',
    'MINE',
    'PATH',
    'PROXY_WORKER',
    'PYTHONFAULTHANDLER',
    'PYTHONUNBUFFERED',
  ]);
  assert.equal(env['LANG'], 'de');
  assert.ok(env['PATH']?.startsWith('/bin:'));
});

test('says why a command cannot be run', async () => {
  await assert.rejects(launch(['no-such-command']), /command not found in PATH: no-such-command/);
  await assert.rejects(launch(['./run.sh']), /not found or not executable: .*run\.sh/);
  await assert.rejects(launch(['no-such-command']), LaunchError);
});
