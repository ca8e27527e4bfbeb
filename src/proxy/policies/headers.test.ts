import assert from 'node:assert/strict';
import { test } from 'node:test';
import { siteEntry } from '../../../test/support/values.ts';
import { UpstreamRequest } from '../upstream/request.ts';
import { RequestHead } from '../http1/request_head.ts';
import { createChain } from './chain.ts';
import { withoutFields } from './headers.ts';

test('removes whole lines of a name, whatever its case, and no others', () => {
  const fields = 'Server: a\r\nServer-Timing: b\r\nX: Server: c\r\nsErVeR: d\r\n';
  assert.equal(withoutFields(fields, ['server']), 'Server-Timing: b\r\nX: Server: c\r\n');
  assert.equal(withoutFields('', ['server']), '');
});

test('what is set replaces what was there, both ways', () => {
  const site = siteEntry({
    redirectHttpsPort: null,
    headers: {
      request: { set: { 'X-Env': 'prod', Host: 'inner.example' }, remove: ['Cookie'] },
      response: { set: { 'X-Frame-Options': 'DENY' }, remove: ['server'] },
    },
  });
  const { onForward, onResponse } = createChain({ site, route: null, pending: new Map() });
  const request = Object.assign(new UpstreamRequest(), { host: 'app.example', fields: 'x-env: dev\r\nCookie: a\r\n' });
  for (const step of onForward) step(request, new RequestHead());
  assert.equal(request.fields, 'X-Env: prod\r\n');
  assert.equal(request.host, 'inner.example');
  const answered = onResponse.reduce((fields, step) => step(fields, { scheme: 'https' }), 'Server: x\r\nA: b\r\n');
  assert.equal(answered, 'A: b\r\nX-Frame-Options: DENY\r\n');
});

test('hsts is said over https only, once', () => {
  const site = siteEntry({ hsts: { maxAgeSeconds: 600, includeSubdomains: true, preload: false } });
  const { onResponse } = createChain({ site, route: null, pending: new Map() });
  const say = (scheme: 'http' | 'https'): string =>
    onResponse.reduce((fields, step) => step(fields, { scheme }), 'Strict-Transport-Security: max-age=1\r\n');
  assert.equal(say('https'), 'Strict-Transport-Security: max-age=600; includeSubDomains\r\n');
  assert.equal(say('http'), 'Strict-Transport-Security: max-age=1\r\n');
});

test('a site that asks for nothing costs its requests nothing', () => {
  const site = siteEntry({ redirectHttpsPort: null });
  const route = { path: '/', service: 'web', stripPrefix: false, upgrades: [] };
  assert.deepEqual(createChain({ site, route, pending: new Map() }), { onRequest: [], onForward: [], onResponse: [] });
});
