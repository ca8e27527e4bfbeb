/** The access log: what a line says, that nobody can break one, and the file it may go to. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { connectRaw } from './support/raw.ts';
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
  assert.deepEqual([record?.['site'], record?.['route'], record?.['service']], ['localhost', '/', 'web']);
  assert.match(String(record?.['worker']), /^web\/[01]\/g[12]$/);
  assert.equal(`g${String(record?.['generation'])}`, String(record?.['worker']).slice(-2));
  assert.equal(record?.['attempts'], 1);
  assert.ok(Number(record?.['first_byte_ms']) <= Number(record?.['duration_ms']));
  assert.deepEqual(new Set(records(file).map((one) => one['reused'])), new Set([false, true]));
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

/** Each byte there is, wherever a client may put one: whether it is refused or answered, it gets one line. */
for (const [format, parse] of [
  ['json', (line: string): string => String((JSON.parse(line) as Record<string, unknown>)['status'])],
  [
    'combined',
    (line: string): string => {
      const quoted = String.raw`"(?:[^"\\]|\\x[0-9A-F]{2})*"`;
      const parsed = new RegExp(`^127\\.0\\.0\\.1 - - \\[[^\\]]+\\] ${quoted} (\\d{3}) \\d+ ${quoted} ${quoted}$`).exec(
        line,
      );
      assert.ok(parsed, line);
      return parsed[1] ?? '';
    },
  ],
] as const) {
  test(`no byte of a client's breaks a line of ${format}`, async () => {
    const access = `{ file: FOLDER/shared/access.log, format: ${format} }`;
    await using daemon = await startDaemon({ config: CONFIG.replace(/access: .*\}/, `access: ${access} }`) });
    const heads = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).flatMap((byte) => [
      `GET /a${byte}b?c${byte} HTTP/1.1\r\nHost: localhost\r\n`,
      `GET${byte} / HTTP/1.1\r\nHost: localhost\r\n`,
      `GET / HTTP/1.1\r\nHost: local${byte}host\r\n`,
      `GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a${byte}" "b\\\r\nReferer: "${byte}\\n\r\n`,
    ]);
    // The byte that ends a line too early begins a second request nowhere: what was malformed ends its connection.
    let answers = '';
    for (let i = 0; i < heads.length; i += 32) {
      answers += (
        await Promise.all(
          heads.slice(i, i + 32).map(async (head) => {
            using client = await connectRaw(daemon, { plain: true });
            client.send(`${head}Connection: close\r\n\r\n`);
            return (await client.closed()).slice(9, 12) + ' ';
          }),
        )
      ).join('');
    }
    const file = `${daemon.folder}/shared/access.log`;
    const lines = (): string[] => readFileSync(file, 'latin1').split('\n').slice(0, -1);
    await eventually(() => lines().length === heads.length);
    assert.match(readFileSync(file, 'latin1'), /^[\x20-\x7e\n]*$/);
    assert.deepEqual(lines().map(parse).toSorted(), answers.trim().split(' ').toSorted());
    assert.ok(new Set(answers.split(' ')).size > 2, answers);
  });
}

test('of a sample, errors have their lines all the same', async () => {
  const access = '{ file: FOLDER/shared/access.log, sample: 0.000001 }';
  await using daemon = await startDaemon({ config: CONFIG.replace(/access: .*\}/, `access: ${access} }`) });
  for (let i = 0; i < 10; i++) await ask(daemon, `/usual/${i}`);
  for (const code of [404, 500]) await ask(daemon, `/status?code=${code}`);
  const file = `${daemon.folder}/shared/access.log`;
  await eventually(() => records(file).length >= 2);
  assert.deepEqual(
    // Either of two proxies may write first.
    records(file)
      .map((record) => Number(record['status']))
      .toSorted((a, b) => a - b),
    [404, 500],
  );
});

test('neither credentials nor cookies nor parameters that let somebody in are logged', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const file = `${daemon.folder}/shared/access.log`;
  const secret = 'hunter2';
  const fields = [`Authorization: Bearer ${secret}`, `Cookie: s=${secret}`, `Proxy-Authorization: ${secret}`];
  const options = [...fields, `X-Api-Key: ${secret}`].flatMap((field) => ['-H', field]);
  await ask(daemon, `/login?token=${secret}&next=%2F`, ...options, '-e', `https://localhost/?password=${secret}`);
  const record = await recordOf(file, '/login?token=***&next=%2F');
  assert.equal(record['referer'], 'https://localhost/?password=***');
  assert.equal(readFileSync(file, 'utf8').includes(secret), false);
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
