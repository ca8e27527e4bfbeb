import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseInstant, parseRenewalInfo, unreachable } from './ari.ts';
import type { RenewalInfo } from './ari.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NOW = Date.parse('2026-11-24T12:00:00Z');
const QUERY = { certId: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE', notAfter: NOW + 30 * DAY, failures: 0 };

function answered(data: unknown, headers: Record<string, string> = {}, status = 200): RenewalInfo {
  return parseRenewalInfo({ status, headers, data }, QUERY, NOW);
}

function suggested(start: number, end: number): unknown {
  return { suggestedWindow: { start: new Date(start).toISOString(), end: new Date(end).toISOString() } };
}

test('an instant inside the window is chosen, and asked again when the CA says', () => {
  const info = answered(suggested(NOW + DAY, NOW + 2 * DAY), { 'retry-after': '21600' });
  assert.deepEqual(info.window, { start: NOW + DAY, end: NOW + 2 * DAY });
  assert.ok(info.selectedTime !== null && info.selectedTime >= NOW + DAY && info.selectedTime < NOW + 2 * DAY);
  assert.equal(info.nextPollAt, NOW + 6 * HOUR);
  assert.equal(info.problem, null);
});

test('the choice stands as long as the window, and is made anew with another', () => {
  const window = { start: NOW, end: NOW + DAY };
  assert.equal(chooseInstant(window, 'a.b'), chooseInstant({ ...window }, 'a.b'));
  assert.notEqual(chooseInstant(window, 'a.b'), chooseInstant({ ...window, end: NOW + DAY - 1 }, 'a.b'));
  const chosen = Array.from({ length: 1_000 }, (_, i) => (chooseInstant(window, `certificate ${i}`) - NOW) / DAY);
  assert.ok(chosen.every((share) => share >= 0 && share < 1));
  // Spread evenly: each tenth of the window gets about a tenth.
  for (let tenth = 0; tenth < 10; tenth++) {
    const count = chosen.filter((share) => Math.floor(share * 10) === tenth).length;
    assert.ok(count > 60 && count < 140, `${count} of 1000 in tenth ${tenth}`);
  }
});

test('a window in the past means now, and comes with the page that says why', () => {
  const url = 'https://ca.example/incident';
  const window = suggested(NOW - HOUR, NOW - HOUR / 2) as object;
  const info = answered({ ...window, explanationURL: url });
  assert.ok(info.selectedTime !== null && info.selectedTime < NOW);
  assert.equal(info.explanationUrl, url);
});

for (const [what, data] of [
  ['no window', {}],
  ['words instead of JSON', '<!doctype html>'],
  ['dates that are none', { suggestedWindow: { start: 'soon', end: 'later' } }],
  ['numbers for dates', { suggestedWindow: { start: 1, end: 2 } }],
  ['a window that ends as it begins', suggested(NOW, NOW)],
  ['a window that ends before it begins', suggested(NOW + HOUR, NOW)],
  ['a window that outlasts the certificate', suggested(NOW, QUERY.notAfter + 1_000)],
] as const) {
  test(`${what} is no answer, and is asked again in six hours`, () => {
    const info = answered(data, { 'retry-after': '60' });
    assert.deepEqual([info.window, info.selectedTime, info.nextPollAt], [null, null, NOW + 6 * HOUR]);
    assert.ok(info.problem);
  });
}

test("the CA's wish is heeded between a minute and a day", () => {
  const at = (retryAfter: string): number =>
    answered(suggested(NOW + DAY, NOW + 2 * DAY), { 'retry-after': retryAfter }).nextPollAt - NOW;
  assert.equal(at('1'), MINUTE);
  assert.equal(at('864000'), DAY);
  assert.equal(at(new Date(NOW + 2 * HOUR).toUTCString()), 2 * HOUR);
  assert.equal(at('soon'), 6 * HOUR);
});

test('what may pass is asked again after 1, 10, 100 minutes; what lasts in six hours', () => {
  const waits = [0, 1, 2, 3].map((failures) => {
    const info = parseRenewalInfo({ status: 503, headers: {}, data: '' }, { ...QUERY, failures }, NOW);
    assert.equal(info.failures, failures + 1);
    return (info.nextPollAt - NOW) / MINUTE;
  });
  assert.deepEqual(waits, [1, 10, 100, 360]);
  assert.equal(answered('', {}, 404).nextPollAt, NOW + 6 * HOUR);
  assert.equal(answered('', { 'retry-after': '7200' }, 503).nextPollAt, NOW + 2 * HOUR);
  assert.equal(unreachable('ETIMEDOUT', '', 0, NOW).nextPollAt, NOW + MINUTE);
  assert.equal(unreachable('ENOTFOUND', '', 0, NOW).nextPollAt, NOW + 6 * HOUR);
});
