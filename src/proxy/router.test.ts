import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SiteEntry } from '../snapshot.ts';
import { createRouter } from './router.ts';
import type { Decision } from './router.ts';

const app: SiteEntry = {
  name: 'app',
  hosts: ['app.example', '*.wild.example'],
  tls: true,
  redirectHttpsPort: 8443,
  routes: [
    { path: '/api/v1/', service: 'v1', stripPrefix: true },
    { path: '/api', service: 'api', stripPrefix: false },
    { path: '/old', redirect: { to: 'https://new.example/', status: 301 } },
    { path: '/', service: 'web', stripPrefix: false },
  ],
  maxBodySize: 0,
};
const plain: SiteEntry = { ...app, name: 'any', hosts: ['*'], tls: false, redirectHttpsPort: null };
const TOKEN = 'evaGxfADs6pSRb2LAv9IZf17Dt3juxGJyP2KiDhCSSs';

function decide(sites: SiteEntry[], tls: boolean, host: string, target: string): Decision {
  const router = createRouter({ sites }, { http01: { [TOKEN]: 'answer' } }, { 'new.wild.example': 'asking the CA' });
  return router({ tls, host, target, path: target.split('?', 1)[0] ?? target });
}

function service(target: string): string {
  const decision = decide([app], true, 'app.example', target);
  return decision.kind === 'service' ? `${decision.service} ${decision.target}` : decision.kind;
}

test('the longest prefix by path segments wins', () => {
  assert.equal(service('/api'), 'api /api');
  assert.equal(service('/api/x?q=/api/v1/'), 'api /api/x?q=/api/v1/');
  assert.equal(service('/apix'), 'web /apix');
  assert.equal(service('/api/v2/'), 'api /api/v2/');
  assert.equal(service('/old/x'), 'redirect');
});

test('strip_prefix keeps a leading slash and the query', () => {
  assert.equal(service('/api/v1/items?a=1'), 'v1 /items?a=1');
  assert.equal(service('/api/v1/?a=1'), 'v1 /?a=1');
});

test('exact hosts win over wildcards, wildcards over any', () => {
  const site = (host: string): string | undefined => {
    const decision = decide([app, plain], true, host, '/');
    return decision.kind === 'service' ? decision.site.name : undefined;
  };
  assert.equal(site('app.example'), 'app');
  assert.equal(site('a.wild.example'), 'app');
  assert.equal(site('a.b.wild.example'), 'any');
  assert.equal(site('wild.example'), 'any');
  assert.equal(decide([app], true, 'stranger.example', '/').kind, 'failure');
});

test('plain requests are redirected to the public port of https, target kept', () => {
  assert.deepEqual(decide([app], false, 'app.example', '/x?y=1'), {
    kind: 'redirect',
    site: app,
    status: 308,
    location: 'https://app.example:8443/x?y=1',
  });
});

test('a name without its certificate is told why instead of being redirected', () => {
  const decision = decide([app], false, 'new.wild.example', '/');
  assert.equal(
    decision.kind === 'failure' && `${decision.failure}: ${decision.reason}`,
    'no_certificate: asking the CA',
  );
});

test('an armed challenge is answered before any redirect, whatever the host, and only in plain', () => {
  const path = `/.well-known/acme-challenge/${TOKEN}`;
  assert.deepEqual(decide([app], false, 'app.example', path), { kind: 'challenge', body: 'answer' });
  assert.deepEqual(decide([app], false, 'stranger.example', path), { kind: 'challenge', body: 'answer' });
  assert.equal(decide([app], true, 'app.example', path).kind, 'service');
  for (const token of ['unknown', '../secret', '__proto__', '']) {
    assert.equal(decide([app], false, 'app.example', `/.well-known/acme-challenge/${token}`).kind, 'redirect');
  }
});
