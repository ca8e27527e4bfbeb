/** What becomes of certificates while a daemon runs: failures, several instances, other CAs, revocation, events. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { problem, startShim } from './support/acme_shim.ts';
import type { Shim } from './support/acme_shim.ts';
import { freePort, RECORDING_SERVICE, startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon, Ports } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { startPebble } from './support/pebble.ts';
import { run } from './support/processes.ts';

const HOST = 'app.example.com';
const HOUR = 3_600_000;

interface Ca {
  readonly directoryUrl: string;
  readonly trustedRoot: string;
}

function config(issuers: readonly Ca[], { acme = '', hosts = [HOST] } = {}): string {
  const list = issuers.map(
    ({ directoryUrl, trustedRoot }) => `{ ca: "${directoryUrl}", trusted_roots: [${trustedRoot}] }`,
  );
  return `
acme:
  email: ops@example.com
  agree_tos: true
  issuers: [${list.join(', ')}]
  ${acme}
sites:
${hosts.map((host) => `  - { hosts: [${host}], service: web }`).join('\n')}${RECORDING_SERVICE}`;
}

async function freePorts(): Promise<Ports> {
  return { http: await freePort(), https: await freePort() };
}

/** Serial number of what is served; empty while nothing is. */
async function serial({ ports }: Daemon, host = HOST): Promise<string> {
  const address = `127.0.0.1:${ports.https}`;
  const { stdout: shown } = await run('openssl', ['s_client', '-connect', address, '-servername', host]);
  const { stdout } = await run('openssl', ['x509', '-noout', '-serial'], { input: shown });
  return stdout.trim().replace('serial=', '');
}

interface CertificateView {
  readonly name: string;
  readonly serial: string | null;
  readonly served_serial: string | null;
  readonly issuer: string | null;
  readonly renew_at: string | null;
  readonly renew_reason: string | null;
  readonly next_attempt_at: string | null;
  readonly last_error: string | null;
  readonly ari: { readonly start: string; readonly end: string; readonly explanation_url: string | null } | null;
}

async function certificates(daemon: Daemon): Promise<readonly CertificateView[]> {
  const { stdout } = await daemon.verb('certs', '--json');
  return (JSON.parse(stdout) as { readonly certificates: readonly CertificateView[] }).certificates;
}

function orders(shim: Shim): number {
  return shim.requests.filter(({ endpoint }) => endpoint === 'newOrder').length;
}

test('a CA that asks for 34 hours gets them: nothing is held, nothing ordered, also after a restart', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using shim = await startShim(pebble);
  shim.script('newOrder', problem('rateLimited', 429, { 'retry-after': String(34 * 3_600) }));
  const folder = temporaryFolder();
  const begun = Date.now();
  {
    await using daemon = await startDaemon({ config: config([shim]), ports, folder });
    await eventually(() => daemon.events('certificate_failed').length === 1);
    assert.ok(Date.now() - begun < 10_000, 'the job ends at once');
    const [told] = await certificates(daemon);
    const next = Date.parse(told?.next_attempt_at ?? '');
    assert.ok(Math.abs(next - begun - 34 * HOUR) < 20_000, told?.next_attempt_at ?? 'never');
    const { stdout } = await daemon.verb('certs');
    assert.match(stdout, new RegExp(`${HOST}.*${new Date(next).toISOString().slice(0, 16)}`));
    // An operator is told the same, and the CA is not asked.
    const { code, stdout: renewed } = await daemon.verb('renew', '--force');
    assert.equal(code, 6, renewed);
    // Nothing is held: no lock is left, and another instance would get in.
    assert.equal((await run('find', [path.join(folder, 'state'), '-name', '*.lock'])).stdout, '');
    assert.equal(orders(shim), 1);
  }
  shim.clear('newOrder');
  await using again = await startDaemon({ config: config([shim]), ports, folder });
  const [told] = await certificates(again);
  assert.ok(Date.parse(told?.next_attempt_at ?? '') - begun > 33 * HOUR);
  assert.equal((await again.verb('renew')).code, 6);
  assert.equal(orders(shim), 1);
});

test('two instances on one state folder order once when a certificate is due, and both serve it', async () => {
  const [first, second] = [await freePorts(), await freePorts()];
  // The CA's questions reach the first; whichever orders, it answers.
  await using pebble = await startPebble({ httpPort: first.http, lifetime: 16 });
  const folder = temporaryFolder();
  mkdirSync(path.join(folder, 'state'), { mode: 0o700 });
  const other = temporaryFolder();
  symlinkSync(path.join(folder, 'state'), path.join(other, 'state'));
  await using one = await startDaemon({ config: config([pebble]), ports: first, folder });
  const before = await eventually(async () => (await serial(one)) || undefined);
  await using two = await startDaemon({ config: config([pebble]), ports: second, folder: other });
  assert.equal(await serial(two), before);
  assert.equal(pebble.orders(), 1);
  await eventually(async () => ![before, ''].includes(await serial(one)), { withinMs: 15_000 });
  const after = await serial(one);
  await eventually(async () => (await serial(two)) === after, { withinMs: 5_000 });
  assert.equal(pebble.orders(), 2);
  assert.equal(one.events('certificate_failed').length + two.events('certificate_failed').length, 0);
});

test('the next CA is asked when the first failed three times and there is nothing to serve', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  const dead = { directoryUrl: `https://localhost:${await freePort()}/dir`, trustedRoot: pebble.trustedRoot };
  await using daemon = await startDaemon({ config: config([dead, pebble]), ports });
  await eventually(() => daemon.events('certificate_failed').length === 1);
  for (let i = 0; i < 2; i++) assert.equal((await daemon.verb('renew')).code, 4);
  const { code, stdout } = await daemon.verb('renew');
  assert.equal(code, 0, stdout);
  const [told] = await certificates(daemon);
  assert.equal(told?.issuer, pebble.directoryUrl);
  assert.equal(told.renew_reason, 'ratio', 'the other CA’s certificate is as good as any');
  assert.equal(await serial(daemon), told.serial);
});

test('a revoked certificate is replaced at once, with another key, and old sessions are not resumed', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config([pebble]), ports });
  for (const options of [[], ['--with-certificate-key', '--reason', 'keyCompromise']]) {
    const before = await eventually(async () => (await serial(daemon)) || undefined);
    const at = path.join(daemon.folder, 'shared/session');
    const connect = ['s_client', '-connect', `127.0.0.1:${ports.https}`, '-servername', HOST, '-tls1_2'];
    await run('openssl', [...connect, '-sess_out', at]);
    assert.match((await run('openssl', [...connect, '-sess_in', at])).stdout, /Reused/);
    const { code, stdout, stderr } = await daemon.verb('certs', 'revoke', HOST, ...options);
    assert.equal(code, 0, stdout + stderr);
    const status = await pebble.get(`${pebble.management}/cert-status-by-serial/${before.toLowerCase()}`);
    assert.match(status, /"Status":\s*"Revoked"/);
    const after = await serial(daemon);
    assert.notEqual(after, before);
    assert.match((await run('openssl', [...connect, '-sess_in', at])).stdout, /New, /);
  }
  assert.equal((await daemon.verb('certs', 'revoke', 'nobody.example')).code, 1);
});

test('a hook hears of certificates obtained and failed, and gets no key', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http, domainBlocklist: ['bad.example.com'] });
  const folder = temporaryFolder();
  const script = path.join(folder, 'shared/hook.sh');
  writeFileSync(script, `#!/bin/sh\nenv >> ${folder}/shared/told\necho >> ${folder}/shared/told\n`);
  chmodSync(script, 0o755);
  const text = config([pebble], { acme: `hook: ${script}`, hosts: [HOST, 'bad.example.com'] });
  await using daemon = await startDaemon({ config: text, ports, folder });
  const told = await eventually(() => {
    const all = readFileSync(path.join(folder, 'shared/told'), 'utf8');
    return all.includes('PROXY_EVENT=obtained') && all.includes('PROXY_EVENT=failed') && all;
  });
  assert.match(told, new RegExp(`PROXY_NAME=${HOST}\\n`));
  assert.match(told, /PROXY_ERROR=.*(policy|forbid)/i);
  assert.doesNotMatch(told, /PRIVATE KEY/);
  const [obtained] = daemon.events('certificate_obtained');
  assert.match(told, new RegExp(`PROXY_SERIAL=${String(obtained?.['serial'])}\\n`));
});

test('what is served is looked at after each change, and told', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config([pebble]), ports });
  const told = await eventually(async () => {
    const [one] = await certificates(daemon);
    return one?.served_serial ? one : undefined;
  });
  assert.equal(told.served_serial, told.serial);
  assert.equal(daemon.events('certificate_not_served').length, 0);
});

test('a certificate is renewed when its CA says so, and the CA’s reason is shown', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using shim = await startShim(pebble, { renewalInfo: true });
  const window = (from: number, to: number): string =>
    JSON.stringify({
      suggestedWindow: { start: new Date(from).toISOString(), end: new Date(to).toISOString() },
      explanationURL: 'https://ca.example/incident',
    });
  const headers = { 'content-type': 'application/json', 'retry-after': '21600' };
  const now = Date.now();
  const soon = window(now + 3_000, now + 3_400);
  shim.script('renewalInfo', { kind: 'answer', answer: { status: 200, headers, body: soon } }, { times: 1 });
  const later = window(now + 30 * 24 * HOUR, now + 31 * 24 * HOUR);
  shim.script('renewalInfo', { kind: 'answer', answer: { status: 200, headers, body: later } });
  await using daemon = await startDaemon({ config: config([shim]), ports });
  await eventually(() => daemon.events('certificate_obtained').length === 2, { withinMs: 15_000 });
  const [told] = await eventually(async () => {
    const all = await certificates(daemon);
    return all[0]?.ari !== null && all;
  });
  assert.equal(told?.renew_reason, 'ari');
  assert.equal(told.ari?.explanation_url, 'https://ca.example/incident');
  const [first, second] = shim.requests.filter(({ endpoint }) => endpoint === 'newOrder');
  assert.equal(first?.payload?.['replaces'], undefined);
  assert.match(String(second?.payload?.['replaces']), /^[\w-]+\.[\w-]+$/);
});

test('the account’s key is changed and the account ended by hand', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config([pebble]), ports });
  await eventually(async () => (await serial(daemon)) || undefined);
  const changed = await daemon.verb('certs', 'account', 'rollover');
  assert.equal(changed.code, 0, changed.stderr);
  assert.equal((await daemon.verb('renew', '--force')).code, 0, 'the account goes on with its new key');
  assert.equal(pebble.accounts(), 1);
  assert.equal((await daemon.verb('certs', 'account', 'deactivate')).code, 0);
  assert.equal((await daemon.verb('renew', '--force')).code, 0);
  assert.equal(pebble.accounts(), 2);
});

test('an expired certificate is served while its CA is away, also after a restart', async () => {
  const ports = await freePorts();
  const folder = temporaryFolder();
  const port = await freePort();
  let expired = '';
  {
    await using pebble = await startPebble({ httpPort: ports.http, lifetime: 4 });
    await using shim = await startShim(pebble, { port });
    await using daemon = await startDaemon({ config: config([shim]), ports, folder });
    expired = await eventually(async () => (await serial(daemon)) || undefined);
    // From now on nobody can renew it.
    shim.script('newOrder', problem('serverInternal', 500));
    await eventually(() => daemon.events('certificate_expiring').some(({ alarm }) => alarm === 'expired'), {
      withinMs: 15_000,
    });
    expired = await serial(daemon);
    writeFileSync(path.join(folder, 'shared/root.pem'), readFileSync(shim.trustedRoot));
  }
  const gone = { directoryUrl: `https://localhost:${port}/dir`, trustedRoot: path.join(folder, 'shared/root.pem') };
  await using again = await startDaemon({ config: config([gone]), ports, folder });
  assert.equal(await serial(again), expired);
  const { stdout } = await again.verb('certs');
  assert.match(stdout, /EXPIRED/);
  assert.equal((await again.verb('renew')).code, 4);
  assert.equal(await serial(again), expired, 'nothing was taken away');
});

test('a first start without a certificate refuses that name on 443, and serves the others', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  const dead = { directoryUrl: `https://localhost:${await freePort()}/dir`, trustedRoot: pebble.trustedRoot };
  const text = config([dead]).replace('sites:', 'sites:\n  - { hosts: [localhost], service: web }');
  await using daemon = await startDaemon({ config: text, ports });
  await eventually(() => daemon.events('certificate_failed').length === 1);
  assert.equal(await serial(daemon), '');
  assert.notEqual(await serial(daemon, 'localhost'), '');
  const { stdout } = await run('curl', ['-sSk', '-o', '/dev/null', '-w', '%{http_code}', daemon.origin]);
  assert.equal(stdout, '200');
});

test('a site whose names change gets another certificate, and serves the old names meanwhile', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using shim = await startShim(pebble);
  await using daemon = await startDaemon({ config: config([shim]), ports });
  const before = await eventually(async () => (await serial(daemon)) || undefined);
  shim.script('newOrder', problem('serverInternal', 500), { times: 1 });
  writeFileSync(
    daemon.file,
    readFileSync(daemon.file, 'utf8').replace(`hosts: [${HOST}]`, `hosts: [${HOST}, www.example.com]`),
  );
  assert.equal((await daemon.verb('reload')).code, 0);
  await eventually(() => daemon.events('certificate_failed').length === 1);
  assert.equal(await serial(daemon), before);
  assert.equal(await serial(daemon, 'www.example.com'), '');
  assert.equal((await daemon.verb('renew')).code, 0);
  const after = await serial(daemon);
  assert.notEqual(after, before);
  assert.equal(await serial(daemon, 'www.example.com'), after);
});

test('another key type is due at once; so soon after the one before it takes an operator’s word', async () => {
  const ports = await freePorts();
  await using pebble = await startPebble({ httpPort: ports.http });
  await using daemon = await startDaemon({ config: config([pebble]), ports });
  await eventually(async () => (await serial(daemon)) || undefined);
  const text = readFileSync(daemon.file, 'utf8').replace('agree_tos: true', 'agree_tos: true\n  key_type: rsa2048');
  writeFileSync(daemon.file, text);
  assert.equal((await daemon.verb('reload')).code, 0);
  const [told] = await eventually(async () => {
    const all = await certificates(daemon);
    return all[0]?.last_error !== null && all;
  });
  assert.equal(told?.renew_reason, 'key_type_changed');
  assert.match(told.last_error ?? '', /1 within 1 h of exactly these names/);
  assert.equal((await daemon.verb('renew', '--force')).code, 0);
  const { stdout } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${ports.https}`, '-servername', HOST]);
  assert.match(stdout, /Peer signature type: RSA/i);
});
