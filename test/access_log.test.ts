/** The access log: what a line says, that nobody can break one, and the file it may go to. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const CONFIG = `
proxy_processes: 2
logging: { access: { file: FOLDER/shared/access.log } }
sites: [{ hosts: [localhost], service: web }]
${RECORDING_SERVICE}`;

function records(file: string): Record<string, unknown>[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'latin1');
  assert.match(text, /^[\x20-\x7e\n]*$/);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function ask(daemon: Daemon, path: string, ...options: readonly string[]): Promise<void> {
  const { code } = await run('curl', ['-sk', '-o', '/dev/null', ...options, `${daemon.origin}${path}`]);
  assert.equal(code, 0);
}

async function recordOf(file: string, target: string): Promise<Record<string, unknown>> {
  return eventually(() => records(file).find((record) => record['target'] === target));
}

test('both proxies append whole lines to one file, and stdout has events alone', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const file = `${daemon.folder}/shared/access.log`;
  const count = 2_000;
  const { stdout } = await run('h2load', ['-n', String(count), '-c', '40', '--h1', `${daemon.origin}/x`]);
  assert.match(stdout, new RegExp(`${count} succeeded`));
  await eventually(() => records(file).length === count);
  const [record] = records(file);
  assert.equal(record?.['event'], 'access');
  assert.equal(record?.['status'], 200);
  assert.equal(record?.['protocol'], 'HTTP/1.1');
  assert.equal(record?.['tls'], 'TLSv1.3');
  assert.equal(record?.['service'], 'web');
  assert.match(String(record?.['request_id']), /^[0-9a-f]{20}$/);
  // The first half is the process's own.
  assert.equal(new Set(records(file).map((one) => String(one['request_id']).slice(0, 12))).size, 2);
  assert.equal(daemon.events('access').length, 0);
  assert.equal(statSync(file).mode & 0o777, 0o640);
});

test('what a client sends stays within its field', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const file = `${daemon.folder}/shared/access.log`;
  const agents = ['"}{"event":"forged"}', 'back\\slash', 'tab\tbed', '\u202edrow', 'caf\u00e9', 'x'.repeat(2_000)];
  for (const [i, agent] of agents.entries()) await ask(daemon, `/agent/${i}`, '-A', agent);
  for (const [i, agent] of agents.entries()) {
    const record = await recordOf(file, `/agent/${i}`);
    assert.equal(record['user_agent'], Buffer.from(agent).toString('latin1').slice(0, 1024));
  }
  await ask(daemon, '/a%22%0A%5C?b=%e2%80%ae', '--path-as-is');
  assert.equal((await recordOf(file, '/a%22%0A%5C?b=%e2%80%ae'))['status'], 200);
  await ask(daemon, '/refused', '--http1.1', '-H', 'Host: a"b');
  await eventually(() =>
    records(file).find((record) => record['failure'] === 'bad_request' && record['target'] === ''),
  );
});

test('a file that is moved away is followed by a new one on USR1', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const file = `${daemon.folder}/shared/access.log`;
  await ask(daemon, '/before');
  await recordOf(file, '/before');
  renameSync(file, `${file}.1`);
  process.kill(daemon.pid, 'SIGUSR1');
  await eventually(() => daemon.events('logs_reopened').length === 1 && existsSync(file));
  for (let i = 0; i < 20; i++) await ask(daemon, `/after/${i}`);
  await eventually(() => records(file).length + records(`${file}.1`).length === 21);
  await recordOf(file, '/after/19');
});

test('a reload moves the access log, and one that cannot be written changes nothing', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const rewrite = async (from: string, to: string): Promise<number | null> => {
    writeFileSync(daemon.file, readFileSync(daemon.file, 'utf8').replace(from, to));
    return (await daemon.verb('reload')).code;
  };
  assert.equal(await rewrite('/shared/access.log', '/nowhere/access.log'), 1);
  await ask(daemon, '/same');
  await recordOf(`${daemon.folder}/shared/access.log`, '/same');
  assert.equal(await rewrite('/nowhere/access.log', '/shared/other.log'), 0);
  await ask(daemon, '/moved');
  await recordOf(`${daemon.folder}/shared/other.log`, '/moved');
});

test('a file that cannot be written is said at the start', async () => {
  await using daemon = await startDaemon({ config: CONFIG.replace('/shared/', '/nowhere/'), started: false });
  assert.equal(await daemon.exited, 1);
  assert.match(daemon.log(), /logging\.access\.file .*\/nowhere\/access\.log cannot be written \(ENOENT\)/);
});
