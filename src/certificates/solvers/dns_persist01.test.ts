import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDnsPersist01, missingFromRecords, persistentRecord } from './dns_persist01.ts';
import type { PersistentGrant } from './dns_persist01.ts';
import { createDnsLookup } from './dns_lookup.ts';
import type { Challenge } from './solver.ts';
import { startBind } from '../../../test/support/bind.ts';

const SIGNAL = new AbortController().signal;
const ACCOUNT = 'https://acme-v02.api.letsencrypt.org/acme/acct/1';
const NOW = Date.parse('2027-01-01T00:00:00Z');

function grant(changes: Partial<PersistentGrant> = {}): PersistentGrant {
  const defaults = { name: 'a.example', issuerDomain: 'letsencrypt.org', accountUrl: ACCOUNT, wildcard: false };
  return { ...defaults, until: null, ...changes };
}

test('the record names the CA and the account, and what else it grants', () => {
  assert.deepEqual(persistentRecord(grant()), {
    name: '_validation-persist.a.example',
    value: `letsencrypt.org; accounturi=${ACCOUNT}`,
  });
  assert.equal(
    persistentRecord(grant({ wildcard: true, until: Date.parse('2027-06-01T00:00:00.500Z') })).value,
    `letsencrypt.org; accounturi=${ACCOUNT}; policy=wildcard; persistUntil=1811808000`,
  );
});

test('the record it asks for satisfies it', () => {
  for (const wanted of [grant(), grant({ wildcard: true }), grant({ until: NOW + 1_000 })]) {
    assert.equal(missingFromRecords([persistentRecord(wanted).value], wanted, NOW), null);
  }
  assert.equal(
    missingFromRecords(['other.example', ` LetsEncrypt.org ;accounturi = ${ACCOUNT}; x=y`], grant(), NOW),
    null,
  );
});

test('what is wrong with a record is said', () => {
  const valid = `letsencrypt.org; accounturi=${ACCOUNT}`;
  for (const [values, wanted, reason] of [
    [[], grant(), /there is no such record/],
    [[`other.example; accounturi=${ACCOUNT}`], grant(), /one is for other\.example/],
    [['letsencrypt.org'], grant(), /one is for no account/],
    [[`${valid}2`], grant(), /one is for the account https:.*acct\/12/],
    [[valid], grant({ wildcard: true }), /lacks policy=wildcard/],
    [[`${valid};`], grant(), /part ""/],
    [[`${valid}; policy=wildcard; Policy=wildcard`], grant(), /"policy" twice/],
    [[`${valid}; persistUntil=tomorrow`], grant(), /persistUntil=tomorrow/],
    [[`${valid}; persistUntil=1798761600`], grant(), /one ended at 2027-01-01/],
    [['other.example', 'letsencrypt.org'], grant(), /other\.example; one is for no account/],
  ] as const) {
    assert.match(missingFromRecords(values, wanted, NOW) ?? 'nothing', reason);
  }
});

test('nothing is ordered before the record is there, and the record to make is told', async () => {
  const own = 'https://ca.example/account/1';
  await using bind = await startBind({
    zones: { 'example.test': `_validation-persist.a IN TXT "ca.example; " "accounturi=${own}"` },
  });
  const solver = createDnsPersist01({ lookup: createDnsLookup({ resolvers: [bind.address] }) });
  const challenge = (changes: Partial<Challenge>): Challenge => ({
    type: 'dns-persist-01',
    identifier: { type: 'dns', value: 'a.example.test' },
    wildcard: false,
    token: '',
    keyAuthorization: '',
    accountUrl: own,
    ...changes,
  });
  await solver.arm(challenge({}), SIGNAL);
  await solver.arm(challenge({ issuerDomains: ['other.example', 'ca.example'] }), SIGNAL);
  await assert.rejects(solver.arm(challenge({ wildcard: true }), SIGNAL), {
    code: 'RECORD_MISSING',
    message: `one lacks policy=wildcard; make this record once: _validation-persist.a.example.test. IN TXT "ca.example; accounturi=${own}; policy=wildcard"`,
  });
  const missing = challenge({ identifier: { type: 'dns', value: 'b.example.test' }, accountUrl: ACCOUNT });
  await assert.rejects(solver.arm(missing, SIGNAL), /there is no such record; .*"letsencrypt\.org; accounturi=/);
  await bind.stop();
  await assert.rejects(solver.arm(challenge({}), SIGNAL), /DNS does not answer \(E/);
  assert.equal(solver.solves({ type: 'ip', value: '192.0.2.1' }, false), false);
});
