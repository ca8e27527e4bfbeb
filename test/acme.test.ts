/** Certificates from a real ACME server: obtained, kept, renewed under load, tried without a trace. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import { freePort, RECORDING_SERVICE, startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon, Ports } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { startPebble } from './support/pebble.ts';
import type { Pebble } from './support/pebble.ts';
import { run } from './support/processes.ts';
import { issuerSlug } from '../src/certificates/store.ts';

const HOST = 'app.example.com';

function config(pebble: Pebble, { hosts = HOST, testCa = '' } = {}): string {
  return `acme:
  email: ops@example.com
  agree_tos: true
  resolvers: ["${pebble.dns.server}"]
  issuers: [{ ca: "${pebble.directoryUrl}", trusted_roots: [${pebble.trustedRoot}]${testCa} }]
sites: [{ hosts: [${hosts}], service: web }]${RECORDING_SERVICE}`;
}

async function freePorts(): Promise<Ports> {
  return { http: await freePort(), https: await freePort() };
}

async function served(daemon: Daemon, host = HOST): Promise<string> {
  const { stdout, stderr } = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${daemon.ports.https}`,
    '-servername',
    host,
    '-showcerts',
  ]);
  return stdout + stderr;
}

async function serial(daemon: Daemon): Promise<string> {
  const { stdout } = await run('openssl', ['x509', '-noout', '-serial'], { input: await served(daemon) });
  return stdout.trim();
}

/** Every path below a folder with its kind, mode, change times and content. */
function picture(folder: string): string {
  const lines: string[] = [];
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted()) {
    const file = path.join(folder, name);
    const { mode, mtimeMs, ctimeMs, size } = lstatSync(file);
    const kind = lstatSync(file);
    const content = kind.isFile()
      ? createHash('sha256').update(readFileSync(file)).digest('hex')
      : kind.isSymbolicLink()
        ? readlinkSync(file)
        : '';
    lines.push([name, mode, mtimeMs, ctimeMs, size, content].join(' '));
  }
  return lines.join('\n');
}

test("serves the CA's certificate within 5 s of the start, with its chain, its key kept to ourselves", async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  const begun = Date.now();
  await using daemon = await startDaemon({ config: config(pebble), ports });
  await eventually(async () => /BEGIN CERTIFICATE/.test(await served(daemon)), { withinMs: 5_000 });
  assert.ok(Date.now() - begun < 5_000, `${Date.now() - begun} ms`);

  const root = path.join(daemon.folder, 'pebble-root.pem');
  writeFileSync(root, await pebble.issuerRoot());
  const { stdout, stderr } = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${ports.https}`,
    '-servername',
    HOST,
    '-showcerts',
    '-CAfile',
    root,
    '-verify_hostname',
    HOST,
    '-verify_return_error',
  ]);
  assert.match(stdout, /Verify return code: 0 \(ok\)/, stderr);
  assert.equal(stdout.match(/BEGIN CERTIFICATE/g)?.length, 2, 'leaf and intermediate');
  const curl = await run('curl', [
    '-sS',
    '--cacert',
    root,
    '--resolve',
    `${HOST}:${ports.https}:127.0.0.1`,
    `https://${HOST}:${ports.https}/`,
  ]);
  assert.match(curl.stdout, /^web\//, curl.stderr);

  const kept = path.join(daemon.folder, 'state/certificates', issuerSlug(pebble.directoryUrl), HOST, 'current');
  assert.equal(statSync(path.join(kept, 'key.pem')).mode & 0o777, 0o600);
  assert.equal(statSync(kept).mode & 0o777, 0o700);
});

test('a second start makes no order', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  const folder = temporaryFolder();
  try {
    let first = '';
    {
      await using daemon = await startDaemon({ config: config(pebble), ports, folder });
      first = await eventually(async () => (await serial(daemon)) || undefined);
      daemon.child.kill('SIGTERM');
      await daemon.exited;
    }
    const orders = pebble.orders();
    assert.equal(orders, 1);
    await using daemon = await startDaemon({ config: config(pebble), ports, folder });
    assert.equal(await serial(daemon), first);
    const { code, stdout } = await daemon.verb('renew');
    assert.equal(code, 0);
    assert.match(stdout, /not due/);
    assert.equal(pebble.orders(), orders);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('renew --force changes what is served while a download over the old connection goes on', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config(pebble), ports });
  const before = await eventually(async () => (await serial(daemon)) || undefined);
  const size = 100_000_000;
  let received = 0;
  const download = new Promise<number>((resolve, reject) => {
    const target = `https://127.0.0.1:${ports.https}/bytes?size=${size}&pause=3`;
    const options = { servername: HOST, headers: { host: HOST }, rejectUnauthorized: false, agent: false as const };
    https
      .get(target, options, (response) => {
        response.on('data', (chunk: Buffer) => (received += chunk.length));
        response.on('end', () => resolve(received));
        response.on('error', reject);
      })
      .on('error', reject);
  });
  await eventually(() => received > 0);
  const renewed = await daemon.verb('renew', '--force', '--json');
  assert.equal(renewed.code, 0, renewed.stdout + renewed.stderr);
  const now = await serial(daemon);
  assert.notEqual(now, before);
  assert.ok(received < size, 'the download is still going on');
  assert.equal(await download, size);
});

test('renew --dry-run succeeds and leaves the state folder byte for byte as it was', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config(pebble), ports });
  const before = await eventually(async () => (await serial(daemon)) || undefined);
  const state = picture(path.join(daemon.folder, 'state'));
  const { code, stdout, stderr } = await daemon.verb('renew', '--dry-run');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, new RegExp(`^${HOST} .* ok +\\d+d .*left`, 'm'));
  assert.equal(picture(path.join(daemon.folder, 'state')), state);
  assert.equal(pebble.orders(), 2, 'the trial was a real order');
  assert.equal(await serial(daemon), before);
});

test('renew --dry-run exits 5 with the reason of a CA that refuses', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using strict = await startPebble({ httpPort: ports.http, domainBlocklist: [HOST] });
  const testCa = `, test_ca: "${strict.directoryUrl}"`;
  const both = config(pebble, { testCa }).replace(pebble.trustedRoot, `${pebble.trustedRoot}, ${strict.trustedRoot}`);
  await using daemon = await startDaemon({ config: both, ports });
  await eventually(async () => (await serial(daemon)) || undefined);
  const state = picture(path.join(daemon.folder, 'state'));
  const { code, stdout } = await daemon.verb('renew', '--dry-run');
  assert.equal(code, 5, stdout);
  assert.match(stdout, /policy|blocklist|forbid|not issue/i);
  assert.equal(picture(path.join(daemon.folder, 'state')), state);
});

test('renews by itself when a certificate is due, and not before', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http, lifetime: 10 });
  await using daemon = await startDaemon({ config: config(pebble), ports });
  const before = await eventually(async () => (await serial(daemon)) || undefined);
  const issuedAt = async (): Promise<number> => Date.parse((await daemon.status()).certificates[0]?.not_before ?? '');
  const first = await issuedAt();
  await eventually(async () => (await serial(daemon)) !== before, { withinMs: 9_000 });
  // Half of ten seconds, give or take its jitter and the whole seconds certificates are dated in.
  const apart = (await issuedAt()) - first;
  assert.ok(apart >= 4_000 && apart < 9_000, `${apart} ms`);
  assert.equal(pebble.orders(), 2);
});

test('until a name has its certificate, port 80 says why instead of redirecting', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http, domainBlocklist: [HOST] });
  await using daemon = await startDaemon({ config: config(pebble), ports });
  await eventually(() => daemon.events('certificate_failed').length === 1);
  // The proxies hear of it a moment after the log.
  const said = await eventually(async () => {
    const { stdout } = await run('curl', ['-sSi', '-H', `Host: ${HOST}`, `http://127.0.0.1:${ports.http}/`]);
    return stdout.includes('there is no certificate yet') && stdout;
  });
  assert.match(said, /^HTTP\/1\.1 503 /);
  assert.match(said, /there is no certificate yet: .+next attempt at 20/);
  const failed = daemon.events('certificate_failed')[0];
  assert.equal(failed?.['code'], 5);
  const next = (await daemon.status()).certificates[0];
  assert.match(next?.last_error ?? '', /\w/);
  // An operator need not wait for the next attempt.
  assert.equal((await daemon.verb('renew')).code, 5);
  assert.equal(daemon.events('certificate_failed').length, 2);
});

test('a CA that cannot be reached holds up nothing, and is told of with exit code 4', async () => {
  const ports = await freePorts();
  const gone = await startPebble({ httpPort: ports.http });
  const folder = temporaryFolder();
  const root = path.join(folder, 'root.pem');
  writeFileSync(root, readFileSync(gone.trustedRoot));
  const text = config(gone, { hosts: HOST })
    .replace(gone.trustedRoot, root)
    .replace('sites: [', 'sites: [{ hosts: [localhost], service: web }, ');
  await gone[Symbol.asyncDispose]();
  await using daemon = await startDaemon({ config: text, ports, folder });
  try {
    const { stdout } = await run('curl', ['-sS', '--cacert', daemon.ca, `${daemon.origin}/`]);
    assert.match(stdout, /^web\//);
    const renewal = await daemon.verb('renew', HOST, '--force');
    assert.equal(renewal.code, 4, renewal.stdout);
    assert.match(renewal.stdout, /cannot be reached/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('renews by itself when no daemon runs', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config(pebble), ports });
  const before = await eventually(async () => (await serial(daemon)) || undefined);
  daemon.child.kill('SIGTERM');
  await daemon.exited;
  const { code, stdout, stderr } = await daemon.verb('renew', '--force');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /renewed\s+serial/);
  assert.ok(!stdout.includes(before.replace('serial=', '')));
});
