import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { PreflightOptions } from './context.ts';
import { judgeClock } from './ca_checks.ts';
import { preflightCode, worstLevel } from './finding.ts';
import type { Finding } from './finding.ts';
import { runPreflight } from './preflight.ts';
import type { IssuerConfig } from '../../config/config.ts';
import type { Ledger } from '../ledger.ts';

const ISSUER: IssuerConfig = {
  ca: 'https://ca.example/dir',
  testCa: 'https://ca.example/dir',
  trustedRoots: [],
  profile: null,
  eab: null,
  preferredChain: null,
};

/** Nothing of it asks the network but the CA's directory, which nobody answers. */
async function check(hosts: readonly string[], more: Partial<PreflightOptions> = {}): Promise<readonly Finding[]> {
  const [only] = await runPreflight({
    certificates: [{ name: hosts[0] ?? '', hosts }],
    acme: { challenges: ['dns-01'], resolvers: ['127.0.0.1:1'], publicAddresses: [] },
    issuer: ISSUER,
    directoryUrl: 'https://127.0.0.1:1/dir',
    accountUrl: null,
    agreedTerms: null,
    ports: { http: 80, https: 443 },
    armProbe: () => Promise.resolve(() => Promise.resolve()),
    stateDirectory: null,
    ledger: null,
    signal: new AbortController().signal,
    ...more,
  });
  return only?.findings ?? [];
}

function codes(findings: readonly Finding[], name: Finding['check']): string[] {
  return findings.filter(({ check }) => check === name).map(({ level, code }) => `${level} ${code}`);
}

async function names(hosts: readonly string[], more: Partial<PreflightOptions> = {}): Promise<string[]> {
  return codes(await check(hosts, more), 'names');
}

test('names no CA issues for are told, with the limit of the profile', async () => {
  assert.deepEqual(await names(['app.example.com', '*.example.com', 'xn--mnchen-3ya.example']), ['ok ok']);
  for (const host of [
    'münchen.example',
    'UPPER.example.com',
    'dot.example.com.',
    'under_score.example.com',
    `${'a'.repeat(64)}.example.com`,
    'printer.local',
    'localhost',
    '10.0.0.5',
    // Not by DNS alone.
    '203.0.113.5',
  ]) {
    assert.deepEqual(await names([host]), ['fail name_not_issuable'], host);
  }
  const http01 = { acme: { challenges: ['http-01'], resolvers: ['127.0.0.1:1'], publicAddresses: [] } } as const;
  assert.deepEqual(await names(['*.example.com'], http01), ['fail name_not_issuable']);
  const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i}.example.com`);
  assert.deepEqual(await names(many(100)), ['ok ok']);
  assert.deepEqual(await names(many(101)), ['fail too_many_names']);
  const short = { issuer: { ...ISSUER, profile: 'shortlived' } };
  assert.deepEqual(await names(many(26), short), ['fail too_many_names']);
  assert.deepEqual(await names(many(25), short), ['ok ok']);
});

/** What a ledger says; nothing else of it may be called. */
function ledger(
  budget: Awaited<ReturnType<Ledger['budget']>>,
  verdict: Awaited<ReturnType<Ledger['mayOrder']>>,
): Ledger {
  const never = (): never => {
    throw new Error('a check writes nothing');
  };
  return {
    budget: () => Promise.resolve(budget),
    mayOrder: () => Promise.resolve(verdict),
    ordered: never,
    issued: never,
    validationFailed: never,
    parked: never,
    accountCreated: never,
    mayCreateAccount: never,
  };
}

test('a budget that is used up is told with when the next is free, exit 6 when the rest is well', async () => {
  const nextAt = Date.UTC(2026, 10, 30);
  const used = ledger({ issued: 5, allowed: 5, nextAt }, { ok: true });
  const finding = (await check(['app.example.com'], { ledger: used })).find(({ code }) => code === 'budget_used_up');
  assert.ok(finding !== undefined);
  assert.match(finding.message, /0 of 5 .* next is free at 2026-11-30T00:00:00/);
  assert.match(finding.fix ?? '', /wait until then/);
  assert.equal(preflightCode([finding]), 6);
  const some = ledger({ issued: 3, allowed: 5, nextAt: null }, { ok: true });
  const left = (await check(['app.example.com'], { ledger: some })).find((it) => it.check === 'budget');
  assert.match(left?.message ?? '', /2 of 5 are left this week/);
  const parked = ledger(
    { issued: 0, allowed: null, nextAt: null },
    { ok: false, until: nextAt, reason: 'Retry-After' },
  );
  assert.deepEqual(codes(await check(['app.example.com'], { ledger: parked }), 'budget'), ['warn order_must_wait']);
});

test('storage is looked at without a trace, also where its folder is not there yet', async () => {
  const root = mkdtempSync(path.join(os.tmpdir(), 'proxy-preflight-'));
  try {
    const times = (): string => JSON.stringify(statSync(root), ['mtimeMs', 'ctimeMs', 'size']);
    const before = times();
    assert.deepEqual(codes(await check(['a.example.com'], { stateDirectory: root }), 'storage'), ['ok ok']);
    const below = path.join(root, 'not/there');
    assert.deepEqual(codes(await check(['a.example.com'], { stateDirectory: below }), 'storage'), ['ok ok']);
    assert.equal(times(), before);
    assert.deepEqual(readdirSync(root), []);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

test('the probe is armed once for all names, and disarmed when the checks are done or called off', async () => {
  const armed = new Set<string>();
  let count = 0;
  const armProbe: PreflightOptions['armProbe'] = (token) => {
    armed.add(token);
    count++;
    return Promise.resolve(() => Promise.resolve(void armed.delete(token)));
  };
  const acme = { challenges: ['http-01'], resolvers: ['127.0.0.1:1'], publicAddresses: [] } as const;
  // Port 1 of loopback: nobody is there.
  const hosts = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
  const ports = { http: 1, https: null };
  const found = await check(hosts, { acme, armProbe, ports });
  assert.deepEqual(codes(found, 'self_probe'), ['warn port_not_80', ...hosts.map(() => 'fail port80_closed')]);
  assert.deepEqual([count, armed.size], [1, 0]);
  const giveUp = new AbortController();
  const arming: PreflightOptions['armProbe'] = async (token, value) => {
    giveUp.abort(new Error('enough'));
    return armProbe(token, value);
  };
  await assert.rejects(check(hosts, { acme, armProbe: arming, ports, signal: giveUp.signal }), /enough/);
  assert.deepEqual([count, armed.size], [2, 0]);
});

test('a clock off by 5 minutes is a warning, by an hour a failure', () => {
  const judge = (minutes: number): string =>
    judgeClock(minutes * 60_000, { directoryUrl: 'https://ca.example/' }).level;
  assert.deepEqual([0, 5, -5, 6, -6, 60, 61, -61].map(judge), [
    'ok',
    'ok',
    'ok',
    'warn',
    'warn',
    'warn',
    'fail',
    'fail',
  ]);
});

test('a failure of one kind has its exit code, several kinds are 3', () => {
  const fail = (code: Finding['code']): Finding => ({
    check: 'ca',
    code,
    level: 'fail',
    subject: '',
    message: '',
    fix: '',
  });
  assert.equal(preflightCode([]), 0);
  assert.equal(preflightCode([{ ...fail('clock_skew'), level: 'warn' }]), 0);
  assert.equal(preflightCode([fail('ca_unreachable')]), 4);
  assert.equal(preflightCode([fail('storage_full'), fail('storage_read_only')]), 7);
  assert.equal(preflightCode([fail('storage_full'), fail('dns_servfail')]), 3);
  assert.equal(worstLevel([fail('dns_servfail')]), 'fail');
});
