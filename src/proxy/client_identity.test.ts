import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAddressSet } from '../address_set.ts';
import { forwardedField, identify } from './client_identity.ts';
import { RequestHead } from './http1/request_head.ts';
import type { ClientInfo } from './client_identity.ts';

const connection: ClientInfo = {
  remote: '10.0.0.9',
  scheme: 'http',
  tls: null,
  protocol: 'HTTP/1.1',
  logFields: '',
  forwarded: '',
  forwardedHost: null,
  trusted: true,
  servesHost: () => true,
};
const trusted = createAddressSet(['10.0.0.0/8', 'fd00::/8']);

function told(forwardedFor: string, forwardedProto = '', forwardedHost = ''): ClientInfo {
  return identify(
    connection,
    Object.assign(new RequestHead(), { forwardedFor, forwardedProto, forwardedHost }),
    trusted,
  );
}

test('the client is the first from the right that is no trusted proxy', () => {
  assert.equal(told('').remote, '10.0.0.9');
  assert.equal(told('203.0.113.5').remote, '203.0.113.5');
  assert.equal(told('6.6.6.6, 203.0.113.5, 10.1.1.1').remote, '203.0.113.5');
  assert.equal(told('10.3.3.3,10.1.1.1').remote, '10.3.3.3');
  assert.equal(told('"[2001:db8::1]:443", 10.1.1.1').remote, '10.1.1.1', 'what is no address ends the walk');
  assert.equal(told('[2001:db8::1]:443').remote, '2001:db8::1');
  assert.equal(told('203.0.113.5:4711, fd00::1').remote, '203.0.113.5');
  assert.equal(told('unknown, 10.1.1.1').remote, '10.1.1.1');
  assert.equal(told('::ffff:203.0.113.5').remote, '203.0.113.5');
});

test('what stands left of the client is only its own word, and is not passed on', () => {
  assert.equal(
    told('6.6.6.6, 203.0.113.5, 10.1.1.1').forwarded,
    'X-Forwarded-For: 203.0.113.5, 10.1.1.1, 10.0.0.9\r\nX-Forwarded-Proto: http\r\n',
  );
});

test('scheme and host are taken over when they are valid', () => {
  assert.equal(told('', 'HTTPS').scheme, 'https');
  assert.equal(told('', 'javascript').scheme, 'http');
  assert.equal(told('', '', 'app.example:8443').forwardedHost, 'app.example:8443');
  assert.equal(told('', '', 'a b').forwardedHost, null);
});

test('Forwarded says the same in one line (RFC 7239 section 4)', () => {
  assert.equal(
    forwardedField(told('203.0.113.5', 'https'), 'a:1'),
    'Forwarded: for=203.0.113.5;host="a:1";proto=https\r\n',
  );
  assert.equal(forwardedField(told('2001:db8::1'), 'a'), 'Forwarded: for="[2001:db8::1]";host="a";proto=http\r\n');
});
