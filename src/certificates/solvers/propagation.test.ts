import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DnsLookup, NameServer, TxtAnswer } from './dns_lookup.ts';
import { untilShown } from './propagation.ts';

const SIGNAL = new AbortController().signal;
const NAME = '_acme-challenge.a.example';
const SERVERS: readonly NameServer[] = [
  { name: 'ns1.example', address: '192.0.2.1' },
  { name: 'ns2.example', address: '192.0.2.2' },
];
const SHOWN: TxtAnswer = { state: 'answered', values: ['other', 'value'] };
const NONE: TxtAnswer = { state: 'answered', values: [] };
const AWAY: TxtAnswer = { state: 'unreachable', code: 'ETIMEOUT' };
const FAILING: TxtAnswer = { state: 'failed', code: 'ESERVFAIL' };

/** What each server says the first time it is asked, the second, …; the last holds. `asked` counts. */
function lookupOf(
  script: Readonly<Record<string, readonly TxtAnswer[]>>,
  servers = SERVERS,
): DnsLookup & { readonly asked: Record<string, number> } {
  const asked: Record<string, number> = {};
  return {
    asked,
    follow: (name) => Promise.resolve(name),
    zoneOf: () => Promise.resolve('example'),
    nameServers: () => Promise.resolve(servers),
    txt: (_name, server) => {
      const who = server?.name ?? 'resolver';
      const time = (asked[who] = (asked[who] ?? 0) + 1);
      const answers = script[who] ?? [];
      return Promise.resolve(answers[Math.min(time, answers.length) - 1] ?? NONE);
    },
  };
}

test('waits until every name server shows the record', async () => {
  const lookup = lookupOf({ 'ns1.example': [SHOWN], 'ns2.example': [NONE, FAILING, SHOWN] });
  await untilShown(NAME, 'value', 'example', { lookup, timeoutMs: 10_000, signal: SIGNAL });
  assert.equal(lookup.asked['ns2.example'], 3);
});

test('a name server nobody can reach does not hold up those that show it, but alone it vouches for nothing', async () => {
  const shown = lookupOf({ 'ns1.example': [SHOWN], 'ns2.example': [AWAY] });
  await untilShown(NAME, 'value', 'example', { lookup: shown, timeoutMs: 10_000, signal: SIGNAL });
  const lookup = lookupOf({ 'ns1.example': [AWAY], 'ns2.example': [AWAY] });
  await assert.rejects(
    untilShown(NAME, 'value', 'example', { lookup, timeoutMs: 150, signal: SIGNAL }),
    /ns1\.example \(192\.0\.2\.1\) cannot be reached \(ETIMEOUT\), ns2\.example/,
  );
});

test('when the time is up it names who does not show it, and what they say instead', async () => {
  const lookup = lookupOf({ 'ns1.example': [{ state: 'answered', values: ['stale'] }], 'ns2.example': [FAILING] });
  await assert.rejects(untilShown(NAME, 'value', 'example', { lookup, timeoutMs: 150, signal: SIGNAL }), {
    code: 'NOT_PROPAGATED',
    message:
      /_acme-challenge\.a\.example.*ns1\.example \(192\.0\.2\.1\) has only 1 other values, ns2\.example \(192\.0\.2\.2\) fails \(ESERVFAIL\)/,
  });
});

test('where nobody names servers of the zone the resolvers are asked', async () => {
  const lookup = lookupOf({ resolver: [NONE, SHOWN] }, []);
  await untilShown(NAME, 'value', 'example', { lookup, timeoutMs: 10_000, signal: SIGNAL });
  await untilShown(NAME, 'value', null, { lookup, timeoutMs: 10_000, signal: SIGNAL });
  assert.equal(lookup.asked['resolver'], 3);
});

test('a timeout of nothing asks nobody, and the end of the order ends the waiting', async () => {
  const lookup = lookupOf({});
  await untilShown(NAME, 'value', 'example', { lookup, timeoutMs: 0, signal: SIGNAL });
  assert.deepEqual(lookup.asked, {});
  const begun = Date.now();
  const waiting = untilShown(NAME, 'value', 'example', { lookup, timeoutMs: 60_000, signal: AbortSignal.timeout(200) });
  await assert.rejects(waiting, { name: 'TimeoutError' });
  assert.ok(Date.now() - begun < 10_000);
});
