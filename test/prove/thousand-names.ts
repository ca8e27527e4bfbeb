/** A thousand certificates that are due at once: the CA is asked as often as it may be, and all are served in the end. */
import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { decide } from '../../src/certificates/renewal.ts';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { startShim } from '../support/acme_shim.ts';
import type { ShimRequest } from '../support/acme_shim.ts';
import { FIXTURES, freePort, startDaemon } from '../support/daemon.ts';
import { startPebble } from '../support/pebble.ts';
import { residentBytes } from '../support/processes.ts';

export const SUMMARY =
  '1,000 names due at once: 10 orders in 10 s, 4 at once, all obtained, memory bounded (17 min; NAMES=1000)';

const MIB = 1024 * 1024;
const AT_ONCE = 4;
const IN_TEN_SECONDS = 10;
/** Of the control plane, for a thousand certificates and their renewals. */
const ALLOWED_GROWTH_MIB = 256;
const ROUND_MS = 100;

export async function prove(): Promise<void> {
  const count = Number(process.env['NAMES'] ?? 1_000);
  const roundMs = decisionRound();
  const ports = { http: await freePort(), https: await freePort() };
  // A nonce that is refused would have an order asked for twice.
  await using pebble = await startPebble({ httpPort: ports.http, env: { PEBBLE_WFE_NONCEREJECT: '0' } });
  await using shim = await startShim(pebble);
  const names = Array.from({ length: count }, (_, i) => `n${i}.example.com`);
  await using daemon = await startDaemon({
    ports,
    config: `proxy_processes: 1
logging: { access: false }
acme: { agree_tos: true, issuers: [{ ca: "${shim.directoryUrl}", trusted_roots: [${shim.trustedRoot}] }] }
sites:
${names.map((name) => `  - { hosts: [${name}], service: web }`).join('\n')}
services:
  web: { command: [node, bench_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 1 }
`,
  });
  const before = residentBytes(daemon.pid);
  let most = before;
  const begun = performance.now();
  const obtained = (): number => daemon.events('certificate_obtained').length;
  while (obtained() < count) {
    await sleep(1_000);
    most = Math.max(most, residentBytes(daemon.pid));
    assert.equal(daemon.events('certificate_failed').length, 0);
    assert.ok(performance.now() - begun < count * 2_000, `${obtained()} of ${count} in time`);
  }
  const seconds = (performance.now() - begun) / 1_000;
  const placed = shim.requests.filter(({ endpoint }) => endpoint === 'newOrder').map(({ at }) => at);
  const inTen = mostWithin(placed, 10_000);
  const atOnce = mostAtOnce(shim.requests);
  const growth = Math.round((most - before) / MIB);
  const { certificates } = await daemon.status();
  const rows = [
    ['CERTIFICATES', 'ORDERS', 'SECONDS', 'MOST IN 10 s', 'MOST AT ONCE', 'GROWTH MiB', 'A ROUND OF 10,000, ms'],
    [obtained(), placed.length, Math.round(seconds), inTen, atOnce, growth, roundMs.toFixed(1)].map(String),
  ];
  print(formatTable(rows));
  assert.equal(placed.length, count);
  assert.equal(certificates.filter(({ serial }) => serial !== null).length, count);
  assert.ok(inTen <= IN_TEN_SECONDS, `${inTen} orders in 10 s`);
  assert.ok(atOnce <= AT_ONCE, `${atOnce} orders at once`);
  assert.ok(growth <= ALLOWED_GROWTH_MIB, `${growth} MiB of growth`);
  assert.ok(roundMs < ROUND_MS, `${roundMs} ms for a round of decisions`);
}

/** One decision for each of 10,000 certificates, as every round makes them: the median of nine, in milliseconds. */
function decisionRound(): number {
  const now = Date.now();
  const wanted = { names: ['a.example'], keyType: 'p256', profile: null, issuers: ['https://ca.example/'] };
  const order = { issuer: 'https://ca.example/', profile: null, keyType: 'p256' };
  const inputs = Array.from({ length: 10_000 }, (_, i) => {
    const serial = (i * 7_919).toString(16).padStart(32, '0');
    const held = { names: ['a.example'], notBefore: now, notAfter: now + 90 * 86_400_000, serial, order };
    return { now, wanted, held, ari: null, attempts: null };
  });
  const times = Array.from({ length: 9 }, () => {
    const begin = performance.now();
    for (const input of inputs) decide(input);
    return performance.now() - begin;
  });
  return times.toSorted((a, b) => a - b)[4] ?? 0;
}

function mostWithin(times: readonly number[], ms: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  // A request may take some milliseconds longer on its way than the one before.
  return Math.max(...sorted.map((at, i) => sorted.slice(i).filter((other) => other - at < ms - 100).length));
}

/** Orders between being placed and their certificate. */
function mostAtOnce(requests: readonly ShimRequest[]): number {
  let open = 0;
  let most = 0;
  for (const { endpoint } of requests) {
    if (endpoint === 'newOrder') most = Math.max(most, ++open);
    else if (endpoint === 'certificate') open--;
  }
  return most;
}
