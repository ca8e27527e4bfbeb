/** Certificates brought in and taken out by hand. */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { freePort, ROOT, RECORDING_SERVICE, startDaemon, temporaryFolder } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import type { Finished } from './support/processes.ts';
import type { Certificate } from '../src/certificates/certificate.ts';
import { splitChain } from '../src/certificates/certificate.ts';
import { openInternalCa } from '../src/certificates/internal_ca.ts';
import { createMemoryStorage } from '../src/certificates/storage/memory_storage.ts';

const MAIN = path.join(ROOT, 'src/main.ts');
const DAY = 86_400_000;
const ca = await openInternalCa(createMemoryStorage(), Date.now());

let folder = '';
let file = '';
beforeEach(() => {
  folder = temporaryFolder();
  file = path.join(folder, 'proxy.yaml');
  writeFileSync(
    file,
    `acme: { email: ops@example.com, agree_tos: true }
storage: { root: ${folder}/state }
admin: { socket: ${folder}/admin.sock }
sites:
  - { hosts: [www.example.com, example.com], service: web }
  - { hosts: [api.example.com], service: web }
services: { web: { upstreams: ["http://127.0.0.1:1"] } }
`,
  );
});
afterEach(() => rmSync(folder, { recursive: true }));

function certs(...args: readonly string[]): Promise<Finished> {
  return run(process.execPath, [MAIN, 'certs', ...args, '-c', file], {
    env: { ...process.env, PASSPHRASE: 'hunter2' },
  });
}

/** Writes both files below the folder and returns their paths. */
function write(certificate: Certificate, at = '.'): { readonly pem: string; readonly key: string } {
  const [pem, key] = ['fullchain.pem', 'privkey.pem'].map((name) => path.join(folder, at, name));
  assert.ok(pem !== undefined && key !== undefined);
  mkdirSync(path.dirname(pem), { recursive: true });
  writeFileSync(pem, certificate.chain);
  writeFileSync(key, certificate.key);
  return { pem, key };
}

/** As certbot lays them out: links into an archive. */
function writeLineage(name: string, certificate: Certificate): void {
  write(certificate, `letsencrypt/archive/${name}`);
  const live = path.join(folder, 'letsencrypt/live', name);
  mkdirSync(live, { recursive: true });
  for (const part of ['fullchain.pem', 'privkey.pem']) {
    symlinkSync(`../../archive/${name}/${part}`, path.join(live, part));
  }
  writeFileSync(path.join(folder, 'letsencrypt/live/README'), 'This directory contains your keys and certificates.');
}

interface Listed {
  readonly name: string;
  readonly issuer: string;
  readonly hosts: readonly string[];
  readonly serial: string;
}

async function listed(): Promise<readonly Listed[]> {
  const { code, stdout, stderr } = await certs('list', '--json');
  assert.equal(code, 0, stderr);
  const { certificates } = JSON.parse(stdout) as { readonly certificates: readonly Listed[] };
  return certificates;
}

test('a PEM certificate is kept for the site whose hosts it covers, listed, and exported as it came', async () => {
  const certificate = ca.issue(['example.com', '*.example.com'], Date.now());
  const { pem, key } = write(certificate);
  const imported = await certs('import', '--certificate', pem, '--key', key);
  assert.equal(imported.code, 0, imported.stderr);
  assert.match(imported.stdout, /imported for www\.example\.com, valid until/);
  assert.match(imported.stdout, /imported for api\.example\.com, valid until/, 'it covers that site as well');
  assert.match(imported.stdout, /no daemon runs/);
  assert.deepEqual(
    (await listed()).map(({ name, issuer, serial }) => [name, issuer, serial]),
    [
      ['api.example.com', 'imported', certificate.serial],
      ['www.example.com', 'imported', certificate.serial],
    ],
  );

  const out = path.join(folder, 'out');
  const exported = await certs('export', 'www.example.com', '--out', out);
  assert.equal(exported.code, 0, exported.stderr);
  assert.deepEqual(exported.stdout.trim().split('\n'), [`${out}/privkey.pem`, `${out}/fullchain.pem`]);
  for (const name of ['privkey.pem', 'fullchain.pem']) {
    assert.equal(readFileSync(path.join(out, name), 'utf8'), readFileSync(path.join(folder, name), 'utf8'));
    assert.equal(statSync(path.join(out, name)).mode & 0o777, 0o600);
  }
  assert.equal(statSync(out).mode & 0o777, 0o700);
  assert.doesNotMatch(imported.stdout + exported.stdout, /PRIVATE KEY/);
});

test('the same certificate imported twice is one generation, another one the next', async () => {
  const { pem, key } = write(ca.issue(['api.example.com'], Date.now()));
  const kept = (): readonly string[] =>
    readdirSync(path.join(folder, 'state/certificates/imported/api.example.com')).toSorted();
  for (const _ of [1, 2]) await certs('import', '--certificate', pem, '--key', key);
  assert.deepEqual(kept(), ['current', 'g-1']);
  write(ca.issue(['api.example.com'], Date.now()));
  await certs('import', '--certificate', pem, '--key', key);
  assert.deepEqual(kept(), ['current', 'g-1', 'g-2']);
});

for (const layout of ['letsencrypt', 'letsencrypt/live', 'letsencrypt/live/example.com']) {
  test(`certbot's certificates are imported from ${layout}`, async () => {
    writeLineage('example.com', ca.issue(['example.com', 'www.example.com'], Date.now()));
    const { code, stdout, stderr } = await certs('import', '--certbot', path.join(folder, layout));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /live\/example\.com: imported for www\.example\.com/);
    assert.deepEqual(
      (await listed()).map(({ name }) => name),
      ['www.example.com'],
    );
  });
}

test("of certbot's certificates those that can be are imported, the others told of one by one, with exit code 8", async () => {
  writeLineage('api.example.com', ca.issue(['api.example.com'], Date.now()));
  writeLineage('expired.example', ca.issue(['expired.example'], Date.now() - 100 * DAY));
  writeLineage('dangling.example', ca.issue(['dangling.example'], Date.now()));
  rmSync(path.join(folder, 'letsencrypt/archive/dangling.example'), { recursive: true });
  const { code, stdout, stderr } = await certs('import', '--certbot', path.join(folder, 'letsencrypt'));
  assert.equal(code, 8, stderr);
  assert.match(stdout, /imported for api\.example\.com/);
  assert.match(stderr, /live\/expired\.example: not imported: it expired on \d{4}/);
  assert.match(stderr, /live\/dangling\.example: not imported: .*fullchain\.pem cannot be read.*ENOENT/);
});

test('a PKCS#12 file with the ciphers OpenSSL 3 refuses is imported', async () => {
  const certificate = ca.issue(['api.example.com'], Date.now());
  const { pem, key } = write(certificate);
  const p12 = path.join(folder, 'old.p12');
  const files = ['-in', pem, '-inkey', key, '-out', p12];
  const made = await run('openssl', ['pkcs12', '-export', '-legacy', '-passout', 'pass:hunter2', ...files]);
  assert.equal(made.code, 0, made.stderr);
  const refused = await certs('import', '--pkcs12', p12);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /not imported: the PKCS#12 file has a passphrase/);
  const { code, stderr } = await certs('import', '--pkcs12', p12, '--passphrase', '${PASSPHRASE}');
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    (await listed()).map(({ serial }) => serial),
    [certificate.serial],
  );
});

test('an exported PKCS#12 file opens with its passphrase, and is nobody else’s', async () => {
  const certificate = ca.issue(['api.example.com'], Date.now());
  const { pem, key } = write(certificate);
  await certs('import', '--certificate', pem, '--key', key);
  writeFileSync(path.join(folder, 'passphrase'), 'hunter2\n');
  const p12 = path.join(folder, 'out.p12');
  const secret = ['--passphrase', `file:${folder}/passphrase`];
  const { code, stderr } = await certs('export', 'api.example.com', '--pkcs12', p12, ...secret);
  assert.equal(code, 0, stderr);
  assert.equal(statSync(p12).mode & 0o777, 0o600);
  const { stdout } = await run('openssl', ['pkcs12', '-in', p12, '-passin', 'pass:hunter2', '-noenc']);
  const leaf = new X509Certificate(splitChain(stdout)[0] ?? '');
  assert.equal(leaf.serialNumber, certificate.serial);
  assert.ok(leaf.checkPrivateKey(createPrivateKey(stdout)));
});

test('what no client could use is refused with its reason, and nothing is kept of it', async () => {
  const good = ca.issue(['api.example.com'], Date.now());
  const other = ca.issue(['api.example.com'], Date.now());
  const closed = String(
    createPrivateKey(good.key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' }),
  );
  const cases: readonly (readonly [Certificate, RegExp])[] = [
    [ca.issue(['api.example.com'], Date.now() - 100 * DAY), /it expired on/],
    [{ ...good, key: other.key }, /the private key is of none of the certificates/],
    [{ ...good, chain: 'nonsense' }, /there is no certificate in the file/],
    [{ ...good, chain: good.chain.slice(0, -60) }, /the certificate cannot be read/],
    [{ ...good, key: 'nonsense' }, /the private key cannot be read/],
    [{ ...good, key: closed }, /the private key has a passphrase/],
  ];
  for (const [certificate, reason] of cases) {
    const { pem, key } = write(certificate);
    const { code, stderr } = await certs('import', '--certificate', pem, '--key', key);
    assert.equal(code, 1);
    assert.match(stderr, reason);
  }
  assert.deepEqual(await listed(), []);
  const { pem, key } = write({ ...good, key: closed });
  const secret = ['--passphrase', '${PASSPHRASE}'];
  const { code, stderr } = await certs('import', '--certificate', pem, '--key', key, ...secret);
  assert.equal(code, 0, stderr);
});

test('a certificate for no site is kept by its name, and one without its issuer told of', async () => {
  const certificate = ca.issue(['other.example'], Date.now());
  const [leaf = ''] = splitChain(certificate.chain);
  const { pem, key } = write({ ...certificate, chain: leaf });
  const { code, stdout, stderr } = await certs('import', '--certificate', pem, '--key', key);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /imported for other\.example, .*no site with tls: acme has its names yet/);
  assert.match(stderr, /it came without its issuer/);
});

test('misuse is told of, with exit code 1', async () => {
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['explode'], /there is no "certs explode"/],
    [['list', 'x'], /takes no argument "x"/],
    [['list', '--out', 'x'], /"certs list" takes only --json/],
    [['import'], /give one of --certificate, --certbot and --pkcs12/],
    [['import', '--certbot', 'a', '--pkcs12', 'b'], /give one of/],
    [['import', '--certbot', '/nonexistent'], /ENOENT/],
    [['import', '--pkcs12', 'a', '--passphrase', 'hunter2'], /given as file:PATH or as '\$\{NAME\}'/],
    [['import', '--pkcs12', 'a', '--passphrase', '${NOT_THERE}'], /the environment has no NOT_THERE/],
    [['export'], /give one name/],
    [['export', 'a'], /give one of --out and --pkcs12/],
    [['export', 'a', '--pkcs12', 'b'], /--pkcs12 needs a --passphrase/],
    [['export', 'nobody.example', '--out', 'x'], /nothing is kept for nobody\.example; there are: none at all/],
  ];
  for (const [args, reason] of wrong) {
    const { code, stderr } = await certs(...args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, reason);
  }
});

test('a running daemon serves what was imported, without a restart', async () => {
  const ports = { http: await freePort(), https: await freePort() };
  await using daemon = await startDaemon({
    // A CA nobody can reach.
    config: `acme: { email: a@example.com, agree_tos: true, issuers: [{ ca: "https://localhost:${await freePort()}/dir" }] }
sites: [{ hosts: [app.example.com], service: web }]${RECORDING_SERVICE}`,
    ports,
  });
  const certificate = ca.issue(['app.example.com'], Date.now());
  const { pem, key } = write(certificate);
  const { code, stderr } = await daemon.verb('certs', 'import', '--certificate', pem, '--key', key);
  assert.equal(code, 0, stderr);
  await eventually(async () => {
    const served = await run('openssl', [
      's_client',
      '-connect',
      `127.0.0.1:${ports.https}`,
      '-servername',
      'app.example.com',
    ]);
    return new X509Certificate(served.stdout).serialNumber === certificate.serial;
  });
});
