import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FetchOutcome } from './challenge_fetch.ts';
import { judgeProbe } from './self_probe.ts';
import type { Standpoint } from './self_probe.ts';

const URL_ = 'http://app.example.com/.well-known/acme-challenge/tok';
const OURS: FetchOutcome = { kind: 'ours', redirects: [] };
const CLOSED: FetchOutcome = { kind: 'no_connection', code: 'ECONNREFUSED', url: URL_ };
const OTHER: FetchOutcome = { kind: 'other', status: 404, server: 'nginx', url: URL_ };
const DIRECT: Standpoint = { localAddresses: ['127.0.0.1', '203.0.113.5'], publicAddresses: [], byTlsAlpn: false };
const BEHIND_NAT: Standpoint = { localAddresses: ['127.0.0.1', '10.0.0.5'], publicAddresses: [], byTlsAlpn: false };
const NAMED: Standpoint = { ...BEHIND_NAT, publicAddresses: ['203.0.113.5'] };

function judge(outcome: FetchOutcome, address: string, at: Standpoint): string {
  const { level, code } = judgeProbe('app.example.com', address, outcome, at);
  return `${level} ${code}`;
}

test('what reaches us is fine, wherever it comes by', () => {
  assert.equal(judge(OURS, '203.0.113.5', DIRECT), 'ok ok');
  assert.equal(judge(OURS, '198.51.100.9', BEHIND_NAT), 'ok ok');
  assert.equal(judge(OURS, '203.0.113.5', NAMED), 'ok ok');
  assert.equal(judge({ kind: 'ours', redirects: ['https://x/'] }, '203.0.113.5', DIRECT), 'warn challenge_redirected');
});

test('an address that is not among ours is a warning and no failure, until somebody else answers there', () => {
  assert.equal(judge(OURS, '198.51.100.9', NAMED), 'warn address_not_ours');
  assert.equal(judge(CLOSED, '198.51.100.9', NAMED), 'warn address_not_ours');
  assert.equal(judge(OTHER, '198.51.100.9', NAMED), 'fail dns_address_wrong');
  assert.equal(judge(OTHER, '2001:db8::9', NAMED), 'fail dns_aaaa_elsewhere');
  assert.equal(judge(OTHER, '198.51.100.9', DIRECT), 'fail dns_address_wrong');
});

test('an address is the same however it is written', () => {
  const written: Standpoint = { ...BEHIND_NAT, publicAddresses: ['2001:0DB8:0:0::5'] };
  assert.equal(judge(OURS, '2001:db8::5', written), 'ok ok');
  assert.equal(judge(OTHER, '2001:db8::5', written), 'fail port80_not_ours');
});

test('our own public address that cannot be reached from inside proves nothing', () => {
  assert.equal(judge(CLOSED, '203.0.113.5', NAMED), 'warn hairpin_inconclusive');
  assert.equal(judge(CLOSED, '203.0.113.5', BEHIND_NAT), 'warn hairpin_inconclusive');
  // The router's own page, as it often answers from inside.
  assert.equal(judge(OTHER, '203.0.113.5', BEHIND_NAT), 'warn hairpin_inconclusive');
});

test('at an address of this machine a closed port and another program are failures', () => {
  assert.equal(judge(CLOSED, '203.0.113.5', DIRECT), 'fail port80_closed');
  assert.equal(judge(CLOSED, '203.0.113.5', { ...DIRECT, byTlsAlpn: true }), 'warn port80_closed');
  assert.equal(judge(OTHER, '203.0.113.5', DIRECT), 'fail port80_not_ours');
  assert.equal(judge(OTHER, '203.0.113.5', NAMED), 'fail port80_not_ours');
});
