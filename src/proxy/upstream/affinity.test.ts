import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceEntry, targetEntry } from '../../../test/support/values.ts';
import { RequestHead } from '../http1/request_head.ts';
import { createAffinitySource } from './affinity.ts';

const source = createAffinitySource(() => Buffer.from('a secret').toString('base64'));

function head(fields: string): RequestHead {
  return Object.assign(new RequestHead(), { fields });
}

test('a request is bound by what the service goes by', () => {
  const request = head('X-Tenant: acme\r\nCookie: a=1; session=xyz\r\n');
  const of = (hash: ReturnType<typeof serviceEntry>['hash']): string | null =>
    source.of(serviceEntry({ policy: 'hash', hash }), request, '10.0.0.1');
  assert.equal(of({ by: 'client' }), '10.0.0.1');
  assert.equal(of({ by: 'header', name: 'x-tenant' }), 'acme');
  assert.equal(of({ by: 'cookie', name: 'session' }), 'xyz');
  assert.equal(of({ by: 'cookie', name: 'sess' }), null);
  assert.equal(of({ by: 'header', name: 'x-absent' }), null);
  assert.equal(of(null), null);
});

test('our cookie names a place without saying which, and cannot be made up', () => {
  const service = serviceEntry({ stickyCookie: 'stick' });
  const targets = [targetEntry('web/0.1', { place: '0' }), targetEntry('web/1.1', { place: '1' })].map((entry) => ({
    entry,
  }));
  const line = source.fieldsFor(service, null, targetEntry('web/1.1', { place: '1' }), true);
  const tag = /^Set-Cookie: stick=([\w-]{22}); Path=\/; HttpOnly; SameSite=Lax; Secure\r\n$/.exec(line)?.[1];
  assert.ok(tag);
  const affinity = source.of(service, head(`Cookie: stick=${tag}\r\n`), '');
  assert.equal(affinity, tag);
  assert.equal(source.find(service, tag, targets)?.entry.place, '1');
  // A replaced worker is in the same place, and the cookie need not be said again.
  assert.equal(source.fieldsFor(service, tag, targetEntry('web/1.2', { place: '1' }), true), '');
  assert.equal(source.find(service, '1', targets), null);
  assert.equal(source.find(serviceEntry({ name: 'other', stickyCookie: 'stick' }), tag, targets), null);
});
