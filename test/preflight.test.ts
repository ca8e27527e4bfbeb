/** `proxy renew --dry-run`: what stands in the way of a certificate is named before a CA is asked, and nothing stays. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { problem, startShim } from './support/acme_shim.ts';
import type { Shim } from './support/acme_shim.ts';
import { startCaFront } from './support/ca_front.ts';
import type { CaFront } from './support/ca_front.ts';
import { freePort, RECORDING_SERVICE, ROOT, startDaemon, temporaryFolder, writeConfig } from './support/daemon.ts';
import type { Daemon, Ports } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { startPebble } from './support/pebble.ts';
import type { Pebble } from './support/pebble.ts';
import { run } from './support/processes.ts';
import { startSomebodyElse } from './support/somebody_else.ts';
import type { DryRunReport, DryRunResult } from '../src/certificates/dry_run.ts';
import { createLedger } from '../src/certificates/ledger.ts';
import { createFileStorage } from '../src/certificates/storage/file_storage.ts';
import { sleep } from '../src/lifecycle.ts';

const META = { caaIdentities: ['ca.example'], profiles: { classic: 'the usual' } };
/** What each says of itself; `production` must not be asked by a dry run. */
const DIRECTORIES = {
  production: { meta: META },
  trial: { meta: META },
  skewed: { meta: META, headers: { date: new Date(Date.now() - 2 * 3_600_000).toUTCString() } },
  profiles: { meta: { ...META, profiles: { tlsserver: 'another' } } },
  page: { body: '<html>Welcome to the hotel</html>', headers: { 'content-type': 'text/html' } },
  bound: { meta: { ...META, externalAccountRequired: true } },
  stalling: { meta: META, urls: (origin: string) => ({ newOrder: `${origin}/stalls` }) },
};
const HEALTHY = 'healthy.example.com';

/** The same twice, half a second apart: what a start still had to write is written. */
async function settledPicture(folder: string): Promise<string> {
  for (let last = picture(folder); ;) {
    await sleep(500);
    const now = picture(folder);
    if (now === last) return now;
    last = now;
  }
}

/** Every path below a folder with its kind, mode, change times and content. */
function picture(folder: string): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .map((name) => {
      const file = path.join(folder, name);
      const stat = lstatSync(file);
      const content = stat.isFile()
        ? createHash('sha256').update(readFileSync(file)).digest('hex')
        : stat.isSymbolicLink()
          ? readlinkSync(file)
          : '';
      return [name, stat.mode, stat.mtimeMs, stat.ctimeMs, stat.size, content].join(' ');
    })
    .join('\n');
}

interface Stage extends AsyncDisposable {
  readonly pebble: Pebble;
  readonly front: CaFront;
  /** Another CA for tests. */
  readonly shim: Shim;
  readonly daemon: Daemon;
  readonly ports: Ports;
  readonly state: string;
}

/** A daemon with a certificate for every host, all of them from `production`. */
async function arrange(hosts: readonly string[], { asNobody = false } = {}): Promise<Stage> {
  const ports = { http: await freePort(), https: await freePort() };
  await using stack = new AsyncDisposableStack();
  // Requests are counted: none may have to be made twice.
  const env = { PEBBLE_WFE_NONCEREJECT: '0' };
  const pebble = stack.use(await startPebble({ httpPort: ports.http, env }));
  const front = stack.use(await startCaFront(pebble, DIRECTORIES));
  const shim = stack.use(await startShim(pebble, { profiles: ['classic'] }));
  const folder = temporaryFolder();
  stack.defer(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  if (asNobody) chownSync(folder, NOBODY, NOBODY);
  const roots = [pebble.trustedRoot, front.trustedRoot, shim.trustedRoot].map((file, i) => {
    const copy = path.join(folder, `root-${i}.pem`);
    writeFileSync(copy, readFileSync(file));
    return copy;
  });
  const config = `acme:
  email: ops@example.com
  agree_tos: true
  resolvers: ["${pebble.dns.server}"]
  public_addresses: [127.0.0.1, 127.0.0.3]
  issuers:
    - ca: "${front.directoryUrl('production')}"
      test_ca: "${front.directoryUrl('trial')}"
      trusted_roots: [${roots.join(', ')}]
      profile: classic
sites: [${hosts.map((host) => `{ hosts: [${host}], service: web }`).join(', ')}]${RECORDING_SERVICE}`;
  const wrapper = asNobody ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--'] : [];
  // On one address of loopback alone: others stand for the rest of the world.
  const daemon = stack.use(await startDaemon({ config, ports, folder, host: '127.0.0.1', wrapper }));
  await eventually(
    async () => {
      const { certificates } = await daemon.status();
      return certificates.length === hosts.length && certificates.every(({ serial }) => serial !== null);
    },
    { withinMs: 30_000 },
  );
  const state = path.join(folder, 'state');
  const owned = stack.move();
  return { pebble, front, shim, daemon, ports, state, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const NOBODY = 65_534;

async function tryOne(daemon: Daemon, ...args: readonly string[]): Promise<DryRunResult & { readonly exit: number }> {
  const { code, stdout, stderr } = await daemon.verb('renew', ...args, '--dry-run', '--json');
  assert.doesNotThrow(() => JSON.parse(stdout), stdout + stderr);
  const { results, exitCode } = JSON.parse(stdout) as DryRunReport;
  assert.equal(code, exitCode);
  assert.equal(results.length, 1, stdout);
  const [result] = results;
  assert.ok(result !== undefined);
  return { ...result, exit: exitCode };
}

/** The URL of the one account that is kept. */
function ourAccount(state: string): string {
  const accounts = path.join(state, 'accounts');
  const [slug = ''] = readdirSync(accounts);
  const { url } = JSON.parse(readFileSync(path.join(accounts, slug, 'account.json'), 'utf8')) as { url: string };
  return url;
}

function failedCodes({ preflight }: DryRunResult): string[] {
  return preflight.findings.filter(({ level }) => level === 'fail').map(({ code }) => code);
}

function assertNamed(result: DryRunResult & { readonly exit: number }, code: string, fix: RegExp, exit = 3): void {
  assert.deepEqual(failedCodes(result), [code], JSON.stringify(result.preflight.findings, null, 1));
  assert.equal(result.exit, exit);
  assert.equal(result.trial, null, 'nothing is ordered');
  assert.match(result.preflight.findings.find((finding) => finding.code === code)?.fix ?? '', fix);
}

test('names each of the faults of a name by its own code, and orders nothing', async (t) => {
  const name = (word: string): string => `${word}.example.com`;
  const hosts = ['wrong', 'six', 'caa', 'account', 'method', 'servfail', 'port', 'loop'].map(name);
  await using stage = await arrange([...hosts, HEALTHY]);
  const { pebble, front, daemon, ports, state } = stage;
  const { dns } = pebble;
  await using other = await startSomebodyElse(ports.http, ['127.0.0.2', '127.0.0.3', '::1'], (request, response) => {
    if (request.headers.host?.startsWith('loop.') === true) response.writeHead(302, { location: request.url });
    else response.writeHead(404, { server: 'parking' });
    response.end();
  });
  await dns.addresses4(name('wrong'), ['127.0.0.2']);
  await dns.addresses6(name('six'), ['::1']);
  await dns.caa(name('caa'), [{ tag: 'issue', value: 'other.example' }]);
  await dns.caa(name('account'), [{ tag: 'issue', value: 'ca.example; accounturi=https://ca.example/acct/1' }]);
  await dns.caa(name('method'), [{ tag: 'issue', value: 'ca.example; validationmethods=dns-01' }]);
  await dns.servfail(name('servfail'));
  await dns.addresses4(name('port'), ['127.0.0.3']);
  await dns.addresses4(name('loop'), ['127.0.0.2']);
  const before = {
    production: front.requests('production'),
    orders: pebble.orders(),
    state: await settledPicture(state),
  };

  const faults: readonly [string, string, RegExp][] = [
    ['wrong', 'dns_address_wrong', /A record/],
    ['six', 'dns_aaaa_elsewhere', /AAAA record/],
    ['caa', 'caa_issue_forbids', /caa\.example\.com\. CAA 0 issue "ca\.example"/],
    ['account', 'caa_accounturi', /accounturi/],
    ['method', 'caa_validationmethods', /validationmethods/],
    ['port', 'port80_not_ours', /stop what holds that port/],
    ['loop', 'redirect_loop', /acme-challenge/],
  ];
  for (const [host, code, fix] of faults) {
    await t.test(code, async () => assertNamed(await tryOne(daemon, name(host)), code, fix));
  }
  await t.test('a CAA record that names our account is in nobody’s way', async () => {
    const account = ourAccount(state);
    await dns.caa(name('account'), [{ tag: 'issue', value: `ca.example; accounturi=${account}` }]);
    assert.deepEqual(failedCodes(await tryOne(daemon, name('account'), '--preflight-only')), []);
  });
  await t.test('dns_servfail', async () => {
    const result = await tryOne(daemon, name('servfail'));
    assert.deepEqual(failedCodes(result), ['dns_servfail', 'caa_servfail']);
    assert.equal(result.exit, 3);
  });
  await t.test('clock_skew', async () => {
    const result = await tryOne(daemon, HEALTHY, '--ca', front.directoryUrl('skewed'));
    assertNamed(result, 'clock_skew', /NTP/);
    assert.match(JSON.stringify(result.preflight), /120 minutes ahead/);
  });
  await t.test('profile_unknown', async () => {
    const result = await tryOne(daemon, HEALTHY, '--ca', front.directoryUrl('profiles'));
    assertNamed(result, 'profile_unknown', /profile/);
    assert.match(JSON.stringify(result.preflight), /tlsserver/);
  });
  await t.test('ca_unreachable', async () => {
    const nobody = `https://localhost:${await freePort()}/dir`;
    assertNamed(await tryOne(daemon, HEALTHY, '--ca', nobody), 'ca_unreachable', /firewall/, 4);
  });
  await t.test('ca_not_a_directory', async () => {
    const result = await tryOne(daemon, HEALTHY, '--ca', front.directoryUrl('page'));
    assertNamed(result, 'ca_not_a_directory', /acme\.issuers/, 4);
  });
  await t.test('eab_required', async () => {
    assertNamed(await tryOne(daemon, HEALTHY, '--ca', front.directoryUrl('bound')), 'eab_required', /hmac_key/);
  });

  assert.equal(pebble.orders(), before.orders, 'no order');
  await t.test('and all is well with a healthy one', async () => {
    const result = await tryOne(daemon, HEALTHY);
    assert.deepEqual([result.exit, result.outcome, result.trial?.code], [0, 'would_renew', 0]);
    assert.deepEqual(
      result.preflight.findings.filter(({ level }) => level !== 'ok').map(({ code }) => code),
      ['port_not_80'],
    );
    assert.equal(pebble.orders(), before.orders + 1);
  });
  assert.equal(front.requests('production'), before.production, 'the CA that issues for real was not asked');
  assert.equal(picture(state), before.state);
  assert.ok(other.asked.length > 0);
});

test('tells people the same in a table and a paragraph for each fault, and exits 8 when names differ', async () => {
  await using stage = await arrange([HEALTHY, 'wrong.example.com']);
  const { pebble, daemon, ports } = stage;
  await using _ = await startSomebodyElse(ports.http, ['127.0.0.2'], (_request, response) => {
    response.writeHead(403, { server: 'parking' });
    response.end();
  });
  await pebble.dns.addresses4('wrong.example.com', ['127.0.0.2']);
  const { code, stdout, stderr } = await daemon.verb('renew', '--dry-run');
  assert.equal(code, 8, stdout + stderr);
  assert.match(stdout, /^NAME +CA +CHALLENGE +PREFLIGHT +TRIAL +REAL CERT$/m);
  assert.match(
    stdout,
    /^healthy\.example\.com +localhost:\d+ +http-01 +warning: port_not_80 +ok +\d+d.* left, renews in/m,
  );
  assert.match(stdout, /^wrong\.example\.com .* FAILED: dns_address_wrong +not tried /m);
  assert.match(stdout, /^FAILED dns_address_wrong \(wrong\.example\.com at 127\.0\.0\.2\), for wrong\.example\.com$/m);
  assert.match(
    stdout,
    /^ {2}why: http:\/\/wrong\S+ at 127\.0\.0\.2 is answered with 403, by a server that calls itself "parking"/m,
  );
  assert.match(stdout, /^ {2}fix: point the A record/m);
  assert.match(stdout, /What a dry run cannot show/);
  assert.equal(stderr, '', 'no progress where there is no terminal');
});

test('--preflight-only orders nothing, a name nobody knows is told, and misuse is refused', async () => {
  await using stage = await arrange([HEALTHY]);
  const { pebble, daemon } = stage;
  const orders = pebble.orders();
  const { code, stdout } = await daemon.verb('renew', '--preflight-only');
  assert.equal(code, 0, stdout);
  assert.match(stdout, /not asked for/);
  assert.equal(pebble.orders(), orders);
  const unknown = await tryOne(daemon, 'unknown.example.com');
  assert.equal(unknown.exit, 1);
  assert.match(unknown.reason ?? '', /there are: healthy\.example\.com/);
  for (const args of [
    ['--ca', 'staging'],
    ['--dry-run', '--ca', 'http://plain.example/'],
    ['--dry-run', '--timeout', 'soon'],
  ]) {
    assert.equal((await daemon.verb('renew', ...args)).code, 1, args.join(' '));
  }
});

test('storage that cannot be written to is told before an order, exit 7', async () => {
  await using stage = await arrange([HEALTHY], { asNobody: process.getuid?.() === 0 });
  const { pebble, daemon, state } = stage;
  const certificates = path.join(state, 'certificates');
  const orders = pebble.orders();
  chmodSync(certificates, 0o500);
  const result = await tryOne(daemon, HEALTHY);
  assertNamed(result, 'storage_read_only', /daemon's user/, 7);
  assert.match(JSON.stringify(result.preflight), /EACCES/);
  chmodSync(certificates, 0o700);
  assert.equal((await tryOne(daemon, HEALTHY)).exit, 0);
  assert.equal(pebble.orders(), orders + 1);
});

test('a trial that does not end is given up after --timeout, as the CA’s fault', async () => {
  await using stage = await arrange([HEALTHY]);
  const { daemon, front } = stage;
  const result = await tryOne(daemon, HEALTHY, '--ca', front.directoryUrl('stalling'), '--timeout', '1500ms');
  assert.equal(result.exit, 4);
  assert.match(result.reason ?? '', /not finished within 1\.5 s/);
});

test('Ctrl-C in the middle of a trial exits 130; what was armed is disarmed and nothing has changed', async () => {
  const host = 'slow.example.com';
  await using stage = await arrange([host]);
  const { pebble, daemon, ports, state } = stage;
  const probe = (url: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const options = { port: ports.http, path: url, headers: { host }, agent: false as const };
      http
        .get({ host: '127.0.0.1', ...options }, (answer) => resolve(answer.resume().statusCode ?? 0))
        .on('error', reject);
    });
  // A front end that passes on what preflight asks, and is silent when the CA comes.
  await using front = await startSomebodyElse(ports.http, ['127.0.0.2'], (request, response) => {
    if (request.headers['user-agent']?.includes('preflight') !== true) return;
    http.get({ host: '127.0.0.1', port: ports.http, path: request.url, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500);
      answer.pipe(response);
    });
  });
  await pebble.dns.addresses4(host, ['127.0.0.2']);
  const before = picture(state);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const asked = front.asked.length;
    const child = spawn(process.execPath, [path.join(ROOT, 'src/main.ts'), 'renew', '--dry-run', '-c', daemon.file]);
    const exited = new Promise((resolve) => child.once('close', resolve));
    // The first is preflight's, the second the CA's.
    await eventually(() => front.asked.length >= asked + 2);
    const [first = '', second = ''] = front.asked.slice(asked);
    assert.notEqual(first, second);
    assert.equal(await probe(second), 200, 'it is armed now');
    assert.notEqual(await probe(first), 200, "preflight's own is gone already");
    child.kill(signal);
    assert.equal(await exited, 130);
    await eventually(async () => (await probe(second)) !== 200, { withinMs: 3_000 });
  }
  assert.equal(picture(state), before);
  assert.deepEqual(daemon.events('defect'), []);
});

test('without a daemon it tries by itself and leaves nothing; who holds its port is told', async () => {
  await using stage = await arrange([HEALTHY]);
  const { pebble, daemon, ports, state } = stage;
  daemon.child.kill('SIGTERM');
  await daemon.exited;
  const before = picture(state);
  const orders = pebble.orders();
  const { code, stdout, stderr } = await daemon.verb('renew', '--dry-run', '--json');
  assert.equal(code, 0, stdout + stderr);
  assert.equal(pebble.orders(), orders + 1);
  await using _ = await startSomebodyElse(ports.http, ['127.0.0.1'], (_request, response) => response.end());
  const held = await daemon.verb('renew', '--dry-run');
  assert.equal(held.code, 3);
  assert.match(
    held.stderr,
    new RegExp(`port ${ports.http} on 127\\.0\\.0\\.1 is in use by .+ \\(pid ${process.pid}\\)`),
  );
  assert.equal(picture(state), before);
});

test('tries while the daemon renews, without waiting for it', async () => {
  await using stage = await arrange([HEALTHY]);
  const { pebble, daemon, ports } = stage;
  // The real order hangs at somebody who never answers the CA.
  await using silent = await startSomebodyElse(ports.http, ['127.0.0.2'], () => {});
  await pebble.dns.addresses4(HEALTHY, ['127.0.0.2']);
  let renewed = false;
  const renewal = daemon.verb('renew', '--force').then(() => (renewed = true));
  await eventually(() => silent.asked.length > 0);
  await pebble.dns.addresses4(HEALTHY, ['127.0.0.1']);
  const result = await tryOne(daemon, HEALTHY, '--preflight-only');
  assert.equal(result.exit, 0);
  assert.equal((await tryOne(daemon, HEALTHY)).exit, 0);
  assert.equal(renewed, false, 'the real one goes on');
  await silent[Symbol.asyncDispose]();
  await renewal;
});

test("a budget at Let's Encrypt that is used up is told with when the next is free, exit 6", async () => {
  const ports = { http: await freePort(), https: await freePort() };
  await using pebble = await startPebble({ httpPort: ports.http });
  await using front = await startCaFront(pebble, DIRECTORIES);
  const folder = temporaryFolder();
  try {
    // Nothing runs that would ask the real one; only what is kept of it is looked at.
    const issuer = `{ ca: letsencrypt, test_ca: "${front.directoryUrl('trial')}", trusted_roots: [${front.trustedRoot}] }`;
    const config = `acme: { agree_tos: true, resolvers: ["${pebble.dns.server}"], issuers: [${issuer}] }
sites: [{ hosts: [${HEALTHY}], service: web }]${RECORDING_SERVICE}`;
    const file = writeConfig(folder, ports, config, '', '', '127.0.0.1');
    const state = path.join(folder, 'state');
    const ledger = createLedger(createFileStorage(state));
    const ca = 'https://acme-v02.api.letsencrypt.org/directory';
    for (let issued = 0; issued < 5; issued++) await ledger.issued({ ca, names: [HEALTHY] });
    const before = picture(state);
    const args = [path.join(ROOT, 'src/main.ts'), 'renew', '--dry-run', '--json', '-c', file];
    const { code, stdout, stderr } = await run(process.execPath, args);
    assert.equal(code, 6, stdout + stderr);
    const [result] = (JSON.parse(stdout) as DryRunReport).results;
    const finding = result?.preflight.findings.find(({ level }) => level === 'fail');
    assert.equal(finding?.code, 'budget_used_up');
    assert.match(finding?.message ?? '', /0 of 5 .* next is free at 20/);
    assert.match(finding?.fix ?? '', /wait until then/);
    assert.equal(pebble.orders(), 0);
    assert.equal(picture(state), before);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('what the CA says of a trial is told with its exit code, and its account ends with it', async () => {
  await using stage = await arrange([HEALTHY]);
  const { shim, daemon, state } = stage;
  const before = picture(state);
  const ended = (): number => shim.requests.filter(({ payload }) => payload?.['status'] === 'deactivated').length;
  assert.equal((await tryOne(daemon, HEALTHY, '--ca', shim.directoryUrl)).exit, 0);
  assert.deepEqual([shim.count('newAccount'), ended()], [1, 1]);

  shim.script('newOrder', problem('rateLimited', 429, { 'retry-after': '3600' }));
  const limited = await tryOne(daemon, HEALTHY, '--ca', shim.directoryUrl);
  assert.equal(limited.exit, 6);
  assert.equal(limited.trial?.problem?.type, 'rateLimited');
  assert.ok((limited.trial.problem.retryAt ?? 0) > Date.now() + 3_000_000);
  assert.deepEqual([shim.count('newAccount'), ended()], [2, 2], 'also of one that failed');
  const { stdout } = await daemon.verb('renew', '--dry-run', '--ca', shim.directoryUrl);
  assert.match(stdout, /^FAILED rateLimited, for healthy\.example\.com$/m);
  assert.match(stdout, /^ {2}until: 20\d\d-/m);

  shim.clear();
  shim.script('newAccount', problem('serverInternal', 500));
  assert.equal((await tryOne(daemon, HEALTHY, '--ca', shim.directoryUrl)).exit, 4);
  assert.equal(picture(state), before);
});
