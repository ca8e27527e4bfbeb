import assert from 'node:assert/strict';
import { test } from 'node:test';
import { siteEntry } from '../../test/support/values.ts';
import type { SiteEntry } from '../snapshot.ts';
import { RequestHead } from './http1/request_head.ts';
import type { Verdict } from './policies/policy.ts';
import { createRequestCounter } from './request_counter.ts';
import { createRouter } from './router.ts';
import type { SiteRoute } from './router.ts';
import { UpstreamRequest } from './upstream/request.ts';

const app = siteEntry({
  hosts: ['app.example', '*.wild.example'],
  redirectHttpsPort: 8443,
  routes: [
    { path: '/api/v1/', service: 'v1', stripPrefix: true, upgrades: [] },
    { path: '/go/', redirect: { to: 'https://new.example/there/{rest}', status: 302 } },
    { path: '/api', service: 'api', stripPrefix: false, upgrades: [] },
    { path: '/old', redirect: { to: 'https://new.example/', status: 301 } },
    { path: '/', service: 'web', stripPrefix: false, upgrades: [] },
  ],
});
const plain = siteEntry({ ...app, name: 'any', hosts: ['*'], tls: false, redirectHttpsPort: null });

function routeOf(sites: readonly SiteEntry[], host: string, target: string): SiteRoute | null {
  const router = createRouter({ sites }, { 'new.wild.example': 'asking the CA' }, createRequestCounter().row);
  return router(host, target.split('?', 1)[0] ?? target);
}

/** What the request's policies say, and what the worker would get. */
function follow(
  sites: readonly SiteEntry[],
  scheme: 'http' | 'https',
  host: string,
  target: string,
): { verdict: Verdict | null; service: string | null; forwarded: UpstreamRequest } {
  const route = routeOf(sites, host, target) ?? assert.fail('no site');
  const head = Object.assign(new RequestHead(), { host, target, path: target.split('?', 1)[0] });
  const forwarded = Object.assign(new UpstreamRequest(), { target });
  const [verdict] = route.onRequest.flatMap((step) => step(head, { scheme }) ?? []);
  for (const step of route.onForward) step(forwarded, head);
  return { verdict: verdict ?? null, service: route.service, forwarded };
}

function service(target: string): string {
  const { service: name, forwarded } = follow([app], 'https', 'app.example', target);
  return `${name} ${forwarded.target}`;
}

function location(scheme: 'http' | 'https', host: string, target: string): string {
  const { verdict } = follow([app], scheme, host, target);
  return verdict !== null && 'status' in verdict ? `${verdict.status} ${verdict.fields.trim()}` : 'none';
}

test('the longest prefix by path segments wins', () => {
  assert.equal(service('/api'), 'api /api');
  assert.equal(service('/api/x?q=/api/v1/'), 'api /api/x?q=/api/v1/');
  assert.equal(service('/apix'), 'web /apix');
  assert.equal(service('/api/v2/'), 'api /api/v2/');
  assert.equal(location('https', 'app.example', '/old/x'), '301 Location: https://new.example/');
});

test('strip_prefix keeps a leading slash and the query, and tells the worker', () => {
  assert.equal(service('/api/v1/items?a=1'), 'v1 /items?a=1');
  assert.equal(service('/api/v1/?a=1'), 'v1 /?a=1');
  const { forwarded } = follow([app], 'https', 'app.example', '/api/v1/items');
  assert.equal(forwarded.fields, 'X-Forwarded-Prefix: /api/v1\r\n');
});

test('a redirect takes the rest of the path along, and no second host with it', () => {
  assert.equal(location('https', 'app.example', '/go/a/b?c=1'), '302 Location: https://new.example/there/a/b?c=1');
  assert.equal(
    location('https', 'app.example', '/go//evil.example'),
    '302 Location: https://new.example/there/evil.example',
  );
  const www = siteEntry({
    hosts: ['www.app.example'],
    routes: [{ path: '/', redirect: { to: 'https://app.example{uri}', status: 308 } }],
  });
  const { verdict } = follow([www], 'https', 'www.app.example', '/x?y=$&');
  assert.deepEqual(verdict, { status: 308, fields: 'Location: https://app.example/x?y=$&\r\n', body: '' });
});

test('exact hosts win over wildcards, wildcards over any', () => {
  const site = (host: string): string | undefined => routeOf([app, plain], host, '/')?.site.name;
  assert.equal(site('app.example'), 'app');
  assert.equal(site('a.wild.example'), 'app');
  assert.equal(site('a.b.wild.example'), 'any');
  assert.equal(site('wild.example'), 'any');
  assert.equal(routeOf([app], 'stranger.example', '/'), null);
});

test('plain requests are redirected to the public port of https, target kept', () => {
  assert.equal(location('http', 'app.example', '/x?y=1'), '308 Location: https://app.example:8443/x?y=1');
  assert.equal(location('https', 'app.example', '/x?y=1'), 'none');
});

test('a name without its certificate is told why instead of being redirected', () => {
  const { verdict } = follow([app], 'http', 'new.wild.example', '/');
  assert.deepEqual(verdict, { failure: 'no_certificate', reason: 'asking the CA' });
});
