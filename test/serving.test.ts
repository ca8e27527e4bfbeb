/** What a person sees who writes a file and runs the program. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { freePort, RECORDING_SERVICE, startDaemon, writeConfig } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const SITE = `sites: [{ hosts: [localhost, 127.0.0.1, app.internal, "*.wild.localhost"], service: web }]${RECORDING_SERVICE}`;

async function curl(...args: readonly string[]): Promise<string> {
  const { stdout, stderr, code } = await run('curl', ['-sS', '--max-time', '10', ...args]);
  assert.equal(code, 0, stderr);
  return stdout;
}

test('serves https in front of every worker, with a certificate its own CA vouches for', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const seen = new Set<string>();
  await eventually(async () => {
    seen.add((await curl('--cacert', daemon.ca, `${daemon.origin}/`)).split(' ')[0] ?? '');
    return seen.size === 2;
  });
  assert.deepEqual([...seen].toSorted(), ['web/0', 'web/1']);
});

test('redirects plain requests, keeping path and query', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const head = await curl('-i', `http://localhost:${daemon.ports.http}/a/b?c=d`);
  assert.match(head, /^HTTP\/1\.1 308 /);
  assert.match(head, new RegExp(`^location: ${daemon.origin}/a/b\\?c=d\r$`, 'im'));
});

test('picks the certificate by name, by address without one, and gives strangers none', async () => {
  await using daemon = await startDaemon({ config: SITE });
  assert.match(await names(daemon, ['-servername', 'app.internal']), /DNS:app\.internal/);
  assert.match(await names(daemon, ['-servername', 'x.wild.localhost']), /DNS:\*\.wild\.localhost/);
  assert.match(await names(daemon, ['-noservername']), /IP Address:127\.0\.0\.1/);
  const stranger = await openssl(daemon, ['-servername', 'stranger.example']);
  assert.match(stranger, /alert|no peer certificate available/);
  assert.doesNotMatch(stranger, /BEGIN CERTIFICATE/);
});

test('speaks TLS 1.2 and 1.3 with the intermediate ciphers, and nothing older', async () => {
  await using daemon = await startDaemon({ config: SITE });
  assert.match(await openssl(daemon, ['-tls1_3']), /New, TLSv1\.3/);
  assert.match(await openssl(daemon, ['-tls1_2']), /New, TLSv1\.2, Cipher is ECDHE-ECDSA-AES\d+-GCM|CHACHA20/);
  assert.match(await openssl(daemon, ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']), /Cipher is \(NONE\)/);
  assert.match(await openssl(daemon, ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA']), /Cipher is \(NONE\)/);
});

test('resumes sessions whichever proxy gave the ticket', async () => {
  await using daemon = await startDaemon({ config: `proxy_processes: 3\n${SITE}` });
  let session: Buffer | undefined;
  // Twelve connections over three proxies: a ticket that only one of them could open would fail most of them.
  for (let i = 0; i < 12; i++) {
    const socket = tls.connect({
      port: daemon.ports.https,
      host: '127.0.0.1',
      servername: 'localhost',
      rejectUnauthorized: false,
      session,
      maxVersion: 'TLSv1.2',
    });
    await once(socket, 'secureConnect');
    if (session !== undefined) assert.ok(socket.isSessionReused(), `connection ${i}`);
    session = socket.getSession();
    socket.destroy();
  }
});

test('keeps keys and the admin socket to itself', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const mode = (file: string): number => statSync(path.join(daemon.folder, file)).mode & 0o777;
  assert.equal(mode('state/internal/root.key'), 0o600);
  assert.equal(mode('state/certificates/internal/localhost/current/key.pem'), 0o600);
  assert.equal(mode('state/certificates'), 0o700);
  assert.equal(mode('run/admin.sock'), 0o600);
  // Compiled code that proxies run while they still have all rights.
  assert.equal(mode('run/code'), 0o700);
  assert.ok(readdirSync(path.join(daemon.folder, 'run/code')).length > 0, 'and they have kept it there');
});

test('reloads: what changed is replaced, a bad file changes nothing', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const before = (await daemon.status()).services[0]?.workers.map(({ pid }) => pid);

  writeFileSync(daemon.file, 'sites: [');
  const refused = await daemon.verb('reload', '--socket', path.join(daemon.folder, 'run/admin.sock'));
  assert.equal(refused.code, 2, refused.stderr);
  assert.match(refused.stderr, /proxy\.yaml:\d+:\d+ /);
  assert.match(await curl('--cacert', daemon.ca, `${daemon.origin}/`), /web\//);

  writeConfig(daemon.folder, daemon.ports, SITE.replace('localhost, 127', 'localhost, new.localhost, 127'));
  const reloaded = await daemon.verb('reload');
  assert.equal(reloaded.code, 0, reloaded.stderr);
  assert.match(reloaded.stdout, /sites changed/);
  assert.match(await names(daemon, ['-servername', 'new.localhost']), /DNS:new\.localhost/);
  assert.deepEqual(
    (await daemon.status()).services[0]?.workers.map(({ pid }) => pid),
    before,
  );

  writeConfig(daemon.folder, daemon.ports, SITE.replace('workers: 2', 'workers: 3'));
  daemon.child.kill('SIGHUP');
  await eventually(async () => (await daemon.status()).services[0]?.workers.length === 3);
  await eventually(() => daemon.events('reloaded').length === 2);

  const nothing = await daemon.verb('reload');
  assert.equal(nothing.stdout.trim(), 'nothing changed; new code: `proxy deploy web`');
});

test('says in one line which port is taken, and by whom', async () => {
  const port = await freePort();
  const holder = net.createServer();
  await new Promise<void>((resolve) => holder.listen(port, resolve));
  try {
    await using daemon = await startDaemon({
      config: SITE,
      ports: { http: await freePort(), https: port },
      started: false,
    });
    assert.equal(await daemon.exited, 1);
    assert.match(
      daemon.log(),
      new RegExp(`proxy: entrypoint https: port ${port} is in use by .+ \\(pid ${process.pid}\\)`),
    );
  } finally {
    holder.close();
  }
});

test('a second instance leaves the first alone and names it', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const second = await run(process.execPath, [
    path.join(import.meta.dirname, '../src/main.ts'),
    'run',
    '-c',
    daemon.file,
  ]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, new RegExp(`belongs to a running instance \\(pid ${daemon.pid}\\)`));
  assert.match(await curl('--cacert', daemon.ca, `${daemon.origin}/`), /web\//);
});

test('logs each request once, as data', async () => {
  await using daemon = await startDaemon({ config: SITE });
  await curl('--cacert', daemon.ca, '-A', 'test"\u009b31m', `${daemon.origin}/logged?x=1`);
  const line = await eventually(() => daemon.events('access').find(({ target }) => target === '/logged?x=1'));
  assert.equal(line['status'], 200);
  assert.equal(line['host'], `localhost:${daemon.ports.https}`);
  assert.equal(line['method'], 'GET');
  assert.match(String(line['worker']), /^web\/\d\/g\d+$/);
  assert.doesNotMatch(daemon.log(), /\u009b/);
});

test('tells status to people and to programs', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const people = await daemon.verb('status');
  assert.equal(people.code, 0, people.stderr);
  assert.match(people.stdout, /web\/0\/g\d+\s+ready\s+\d+/);
  const programs = await daemon.verb('status', '--json');
  const value = JSON.parse(programs.stdout) as { services: { workers: unknown[] }[] };
  assert.equal(value.services[0]?.workers.length, 2);
});

test('the admin API answers what it cannot do in one form, and only on its socket', async () => {
  await using daemon = await startDaemon({ config: SITE });
  const socket = path.join(daemon.folder, 'run/admin.sock');
  const ask = async (...args: readonly string[]): Promise<unknown> => {
    const { stdout } = await run('curl', ['-sS', '--unix-socket', socket, '-w', ' %{http_code}', ...args]);
    const [, body = '', status] = /^(.*) (\d+)$/s.exec(stdout) ?? [];
    const { error } = JSON.parse(body) as { error: { code: string; message: string; details: unknown[] } };
    assert.ok(error.message.length > 0 && Array.isArray(error.details));
    return [Number(status), error.code];
  };
  assert.deepEqual(await ask('http://localhost/v1/nothing'), [404, 'not_found']);
  assert.deepEqual(await ask('http://localhost/v1/reload'), [405, 'method_not_allowed']);
  assert.deepEqual(await ask('-d', '{', 'http://localhost/v1/renew'), [400, 'bad_json']);
  assert.deepEqual(await ask('-d', '{"names":1}', 'http://localhost/v1/renew'), [400, 'bad_request']);
  assert.doesNotMatch(await curl('--cacert', daemon.ca, `${daemon.origin}/v1/status`), /"version"/);
});

async function openssl(daemon: Daemon, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${daemon.ports.https}`, ...args]);
  return stdout + stderr;
}

async function names(daemon: Daemon, args: readonly string[]): Promise<string> {
  const { stdout } = await run('openssl', ['x509', '-noout', '-ext', 'subjectAltName'], {
    input: await openssl(daemon, args),
  });
  return stdout;
}
