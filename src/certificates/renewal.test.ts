import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alarmLevel, decide, renewAt, retryDelay, wishOf } from './renewal.ts';
import type { AriRecord, Attempts, DecisionInput, Held, Wanted } from './renewal.ts';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 1);
const CA = 'https://ca.example/dir';
const LIVES = { '90 d': 90 * DAY, '45 d': 45 * DAY, '160 h': 160 * HOUR, '60 s': 60_000 };

const wanted: Wanted = { names: ['a.example', 'b.example'], keyType: 'p256', profile: null, issuers: [CA] };

function held(lifeMs: number, serial = '7fffff'): Held {
  const order = { issuer: CA, profile: null, keyType: 'p256' };
  return { names: ['b.example', 'a.example'], notBefore: START, notAfter: START + lifeMs, serial, order };
}

function ari(start: number, end: number, selectedAt = (start + end) / 2): AriRecord {
  return { certId: 'a.b', start, end, selectedAt, explanationUrl: null };
}

function failed(failures: number, at: number, more: Partial<Attempts> = {}): Attempts {
  const fixed = { error: 'no', code: 5, retryAt: null, needsOperator: false, wish: wishOf(wanted) };
  return { failures, lastAttemptAt: at, ...fixed, ...more };
}

const input = (more: Partial<DecisionInput>): DecisionInput => ({
  now: START + HOUR,
  wanted,
  held: held(90 * DAY),
  ari: null,
  attempts: null,
  ...more,
});

for (const [life, ms] of Object.entries(LIVES)) {
  test(`a certificate of ${life} is due at its share of life within two percent, and always at the same time`, () => {
    const share = ms < 10 * DAY ? 1 / 2 : 2 / 3;
    const times = ['000000', '7fffff', 'ffffff', '12ab34'].map((serial) => {
      const { dueAt, reason } = decide(input({ now: START, held: held(ms, serial) }));
      assert.equal(reason, 'ratio');
      assert.equal(dueAt, decide(input({ now: START + 1, held: held(ms, serial) })).dueAt);
      const at = (dueAt - START) / ms;
      assert.ok(Math.abs(at - share) <= 0.0201, String(at));
      return dueAt;
    });
    assert.equal(new Set(times).size, times.length, 'serial numbers spread them');
  });

  test(`a certificate of ${life} is never renewed in a loop: the next is due well after it began`, () => {
    const dueAt = renewAt(held(ms));
    const next = { ...held(ms), notBefore: dueAt, notAfter: dueAt + ms };
    assert.ok(renewAt(next) - dueAt >= ms * 0.47);
  });
}

test('no certificate is due now, and so is one whose names, key type, profile or CA are others', () => {
  assert.deepEqual(decide(input({ held: null })), { dueAt: 0, reason: 'missing', exempt: false, attemptAt: 0 });
  const changed = (more: Partial<Wanted>): string => decide(input({ wanted: { ...wanted, ...more } })).reason;
  assert.equal(changed({ names: ['a.example'] }), 'names_changed');
  assert.equal(changed({ names: ['a.example', 'c.example'] }), 'names_changed');
  assert.equal(changed({ keyType: 'p384' }), 'key_type_changed');
  assert.equal(changed({ profile: 'shortlived' }), 'profile_changed');
  assert.equal(changed({ issuers: ['https://other.example/'] }), 'issuer_changed');
  assert.equal(changed({ issuers: ['https://other.example/', CA] }), 'ratio', 'issued by the one to fall back to');
});

test('a certificate that others ordered is kept until its dates say otherwise', () => {
  const imported = { ...held(90 * DAY), order: null };
  assert.equal(decide(input({ held: imported, wanted: { ...wanted, keyType: 'rsa2048' } })).reason, 'ratio');
  const wildcard = { ...imported, names: ['*.example'] };
  assert.equal(decide(input({ held: wildcard })).reason, 'ratio');
  assert.equal(
    decide(input({ held: wildcard, wanted: { ...wanted, names: ['a.b.example'] } })).reason,
    'names_changed',
  );
});

test('the CA decides before the dates do, later as well as earlier', () => {
  const later = ari(START + 80 * DAY, START + 82 * DAY);
  assert.deepEqual(decide(input({ now: START + 70 * DAY, ari: later })), {
    dueAt: START + 81 * DAY,
    reason: 'ari',
    exempt: false,
    attemptAt: START + 81 * DAY,
  });
  const now = START + 81 * DAY;
  assert.equal(decide(input({ now, ari: later })).exempt, true);
  const past = decide(input({ ari: ari(START - HOUR, START - HOUR / 2) }));
  assert.equal(past.reason, 'ari');
  assert.ok(past.dueAt < START);
  assert.equal(past.exempt, false, 'after its window a renewal counts like any other');
});

test('with a twentieth of the life left it is due, whatever the CA says', () => {
  const late = ari(START + 88 * DAY, START + 89 * DAY);
  const { dueAt, reason } = decide(input({ now: START + 87 * DAY, ari: late }));
  assert.equal(reason, 'emergency');
  assert.equal(dueAt, START + 85.5 * DAY);
});

test('an expired certificate is due', () => {
  const { dueAt } = decide(input({ now: START + 100 * DAY }));
  assert.ok(dueAt < START + 90 * DAY);
});

test('retries after 1, 10 and 100 minutes, then daily, and more often for short lives', () => {
  const minutes = [1, 2, 3, 4, 5].map((failures) => retryDelay(failures, held(90 * DAY)) / 60_000);
  assert.deepEqual(minutes, [1, 10, 100, 1440, 1440]);
  assert.equal(retryDelay(4, held(160 * HOUR)), 4 * HOUR);
  assert.equal(retryDelay(1, held(60_000)), 6_000);
  assert.equal(retryDelay(4, null), DAY);
});

test('failures hold it back within ten percent, and the CA’s own word beyond that', () => {
  const now = START + 75 * DAY;
  const { dueAt, attemptAt } = decide(input({ now, attempts: failed(1, now) }));
  assert.ok(dueAt < now);
  assert.ok(attemptAt >= now + 54_000 && attemptAt <= now + 66_000);
  assert.equal(
    decide(input({ now, attempts: failed(1, now, { retryAt: now + 34 * HOUR }) })).attemptAt,
    now + 34 * HOUR,
  );
  const waits = decide(input({ now, attempts: failed(1, now, { needsOperator: true }) })).attemptAt - now;
  assert.ok(waits >= 0.9 * DAY && waits <= 1.1 * DAY);
});

test('failures do not hold back another wish', () => {
  const now = START + 75 * DAY;
  const attempts = failed(4, now, { needsOperator: true });
  const other = { ...wanted, names: ['a.example'] };
  assert.equal(decide(input({ now, attempts, wanted: other, held: null })).attemptAt, 0);
});

test('warnings grow louder as the rest of a life shrinks', () => {
  const at = (share: number): string => alarmLevel(held(90 * DAY), START + share * 90 * DAY);
  assert.deepEqual([0, 2 / 3, 0.76, 0.9, 0.96, 1.01].map(at), ['none', 'none', 'low', 'high', 'critical', 'expired']);
});

test('a round of decisions for 10,000 certificates is made', (context) => {
  const all = Array.from({ length: 10_000 }, (_, i) =>
    input({
      held: held(90 * DAY, (i * 7919).toString(16).padStart(32, '0')),
      attempts: i % 3 === 0 ? failed(1, START) : null,
    }),
  );
  const begin = performance.now();
  const due = all.filter((one) => decide(one).attemptAt <= START + 60 * DAY).length;
  context.diagnostic(`${Math.round(performance.now() - begin)} ms, ${due} due`);
  assert.ok(due > 0 && due < all.length);
});
