import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLedger, registeredDomains } from './ledger.ts';
import type { Ledger, OrderIntent, Verdict } from './ledger.ts';
import { createMemoryStorage } from './storage/memory_storage.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LETSENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';
const OTHER = 'https://ca.example/dir';

function setUp(): { ledger: Ledger; again: () => Ledger; pass: (ms: number) => void; at: () => number } {
  let now = Date.UTC(2026, 0, 1);
  const storage = createMemoryStorage();
  const open = (): Ledger =>
    createLedger(
      storage,
      () => now,
      () => Promise.resolve(),
    );
  return { ledger: open(), again: open, pass: (ms) => (now += ms), at: () => now };
}

const intent = (more: Partial<OrderIntent> = {}): OrderIntent => ({
  ca: LETSENCRYPT,
  names: ['a.example'],
  exempt: false,
  force: false,
  lifeMs: 90 * DAY,
  ...more,
});

function refused(verdict: Verdict): { until: number; reason: string } {
  assert.ok(!verdict.ok, 'should be refused');
  return verdict;
}

test('a third issuance of a set within seven days is refused, unless the CA or an operator wants it', async () => {
  const { ledger, again, pass, at } = setUp();
  const names = ['b.example', 'a.example'];
  const first = at();
  await ledger.issued({ ca: LETSENCRYPT, names });
  assert.match(refused(await ledger.mayOrder(intent({ names }))).reason, /1 within 1 h of exactly these names/);
  pass(2 * HOUR);
  assert.ok((await ledger.mayOrder(intent({ names }))).ok);
  await ledger.issued({ ca: LETSENCRYPT, names: names.toReversed() });
  pass(2 * HOUR);
  for (const one of [ledger, again()]) {
    const { until, reason } = refused(await one.mayOrder(intent({ names })));
    assert.match(reason, /2 within 7 days/);
    assert.equal(until, first + 7 * DAY);
  }
  assert.ok((await ledger.mayOrder(intent({ names, exempt: true }))).ok);
  assert.ok((await ledger.mayOrder(intent({ names, force: true }))).ok);
  assert.ok((await ledger.mayOrder(intent({ names: ['a.example'] }))).ok, 'another set is another set');
  pass(7 * DAY);
  assert.ok((await ledger.mayOrder(intent({ names }))).ok);
});

test('certificates of 160 h and of 60 s are renewed at half their life without being taken for a loop', async () => {
  for (const life of [160 * HOUR, 60_000]) {
    const { ledger, pass } = setUp();
    for (let i = 0; i < 20; i++) {
      assert.ok((await ledger.mayOrder(intent({ ca: OTHER, lifeMs: life }))).ok, `${life} ${i}`);
      await ledger.issued({ ca: OTHER, names: ['a.example'] });
      pass(life * 0.48);
    }
  }
});

test('the CA’s own limits hold for operators too', async () => {
  const { ledger, pass } = setUp();
  for (let i = 0; i < 5; i++) {
    assert.ok((await ledger.mayOrder(intent({ force: true }))).ok);
    await ledger.issued({ ca: LETSENCRYPT, names: ['a.example'] });
    pass(HOUR);
  }
  assert.match(refused(await ledger.mayOrder(intent({ force: true }))).reason, /5 within 7 days .* the CA's limit/);
  assert.deepEqual(await ledger.budget(intent()), { issued: 5, allowed: 5, nextAt: Date.UTC(2026, 0, 8) });
});

test('300 orders in three hours are the account’s limit, and none of them is remembered for long', async () => {
  const { ledger, pass } = setUp();
  for (let i = 0; i < 300; i++) await ledger.ordered({ ca: LETSENCRYPT, names: [`${i}.example`] });
  assert.match(refused(await ledger.mayOrder(intent())).reason, /300 within 3 h of this account/);
  assert.ok((await ledger.mayOrder(intent({ ca: OTHER }))).ok, 'another CA counts for itself');
  pass(3 * HOUR);
  assert.ok((await ledger.mayOrder(intent())).ok);
});

test('50 new sets below one registered domain within seven days are the limit, renewals are not counted', async () => {
  const { ledger } = setUp();
  for (let i = 0; i < 50; i++) await ledger.issued({ ca: LETSENCRYPT, names: [`${i}.shop.co.uk`] });
  const asked = { names: ['new.shop.co.uk'], lifeMs: null };
  assert.match(refused(await ledger.mayOrder(intent(asked))).reason, /50 within 7 days below shop\.co\.uk/);
  assert.ok((await ledger.mayOrder(intent({ ...asked, lifeMs: 90 * DAY }))).ok, 'a renewal');
  assert.ok((await ledger.mayOrder(intent({ names: ['new.other.co.uk'], lifeMs: null }))).ok);
});

test('a name whose validation failed four times within an hour is left alone', async () => {
  const { ledger, again, pass } = setUp();
  for (let i = 0; i < 4; i++) {
    assert.ok((await ledger.mayOrder(intent({ names: ['x.example', 'a.example'] }))).ok);
    await ledger.validationFailed(LETSENCRYPT, 'a.example');
    pass(60_000);
  }
  assert.match(
    refused(await again().mayOrder(intent({ names: ['x.example', 'a.example'] }))).reason,
    /a\.example failed/,
  );
  assert.ok((await ledger.mayOrder(intent({ names: ['x.example'] }))).ok);
  pass(HOUR);
  assert.ok((await ledger.mayOrder(intent())).ok);
});

test('what the CA parked stays parked over a restart, for a set or for all of it', async () => {
  const { ledger, again, pass, at } = setUp();
  const until = at() + 34 * HOUR;
  await ledger.parked(LETSENCRYPT, ['a.example'], until, 'too many certificates');
  assert.deepEqual(await again().mayOrder(intent({ exempt: true, force: true })), {
    ok: false,
    until,
    reason: 'too many certificates',
  });
  assert.ok((await ledger.mayOrder(intent({ names: ['b.example'] }))).ok);
  await ledger.parked(LETSENCRYPT, null, at() + HOUR, 'busy');
  assert.equal(refused(await again().mayOrder(intent({ names: ['b.example'] }))).reason, 'busy');
  pass(2 * HOUR);
  assert.ok((await ledger.mayOrder(intent({ names: ['b.example'] }))).ok);
  pass(33 * HOUR);
  assert.ok((await ledger.mayOrder(intent())).ok);
});

test('a third account within a day is refused', async () => {
  const { ledger, pass } = setUp();
  for (let i = 0; i < 2; i++) {
    assert.ok((await ledger.mayCreateAccount(LETSENCRYPT)).ok);
    await ledger.accountCreated(LETSENCRYPT);
  }
  assert.match(refused(await ledger.mayCreateAccount(LETSENCRYPT)).reason, /is the storage kept/);
  pass(DAY);
  assert.ok((await ledger.mayCreateAccount(LETSENCRYPT)).ok);
});

test('a damaged page of the ledger is an empty one', async () => {
  const storage = createMemoryStorage();
  const ledger = createLedger(storage);
  await ledger.issued({ ca: OTHER, names: ['a.example'] });
  const [page = ''] = await storage.list('ledger/ca.example-dir/sets');
  await storage.write(`ledger/ca.example-dir/sets/${page}`, '{"issued": 5');
  assert.ok((await ledger.mayOrder(intent({ ca: OTHER }))).ok);
});

test('addresses and private suffixes are counted as Let’s Encrypt counts them', async () => {
  const names = ['*.a.github.io', 'b.a.github.io', 'www.example.com', '192.0.2.7', '2001:db8:1:2::9'];
  const domains = ['a.github.io', 'example.com', '192.0.2.7', '2001:db8:1:2::/64'];
  assert.deepEqual(await registeredDomains(names), domains);
});
