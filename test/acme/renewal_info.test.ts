/** Asking a CA when to renew. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startSetup } from '../support/acme_setup.ts';
import type { Setup } from '../support/acme_setup.ts';
import { json, page, problem, reset, stall } from '../support/acme_shim.ts';
import type { RenewalInfo } from '../../src/certificates/acme/ari.ts';

const HOUR = 3_600_000;

async function ask(setup: Setup, certId: string, notAfter: number, failures = 0): Promise<RenewalInfo> {
  const signal = AbortSignal.timeout(10_000);
  const info = await setup.issuer.renewalInfo(setup.config, { certId, notAfter, failures }, signal);
  assert.ok(info !== null);
  return info;
}

function suggested(start: number, end: number): { readonly suggestedWindow: object } {
  return { suggestedWindow: { start: new Date(start).toISOString(), end: new Date(end).toISOString() } };
}

test('the window, the page about why and the time of the next question are the CA’s, by the name it gives', async () => {
  await using setup = await startSetup({ shim: { renewalInfo: true } });
  const { certificate, about } = await setup.obtain('a.example.com');
  const start = Date.now() - HOUR;
  const body = { ...suggested(start, start + HOUR / 2), explanationURL: 'https://ca.example/incident' };
  setup.shim.script('renewalInfo', json(200, body, { 'retry-after': '7200' }));
  const before = setup.shim.requests.length;
  const info = await ask(setup, about.certId ?? '', certificate.notAfter);
  const asked = setup.shim.requests.slice(before);
  // The directory is known for a day, and the question is not signed.
  assert.deepEqual(
    asked.map(({ method, path }) => `${method} ${path}`),
    [`GET /renewal-info/${about.certId}`],
  );
  assert.ok(info.selectedTime !== null && info.selectedTime < Date.now());
  assert.equal(info.explanationUrl, 'https://ca.example/incident');
  assert.ok(Math.abs(info.nextPollAt - Date.now() - 2 * HOUR) < 5_000);
  // The same window, the same instant: also after a restart.
  assert.equal((await ask(setup, about.certId ?? '', certificate.notAfter)).selectedTime, info.selectedTime);
});

test('a CA that cannot be asked, or says nonsense, is asked again, and nothing else happens', async () => {
  await using setup = await startSetup({ shim: { renewalInfo: true }, options: { requestTimeoutMs: 500 } });
  const notAfter = Date.now() + 30 * 24 * HOUR;
  for (const [behaviour, wait] of [
    [problem('serverInternal', 503), HOUR / 60],
    [stall, HOUR / 60],
    [reset, HOUR / 60],
    [problem('malformed', 404), 6 * HOUR],
    [page(200), 6 * HOUR],
    [json(200, suggested(Date.now(), Date.now())), 6 * HOUR],
  ] as const) {
    setup.shim.clear();
    setup.shim.script('renewalInfo', behaviour);
    const info = await ask(setup, 'a.b', notAfter);
    assert.equal(info.window, null);
    assert.ok(info.problem);
    assert.ok(Math.abs(info.nextPollAt - Date.now() - wait) < 5_000, JSON.stringify(info));
  }
});
