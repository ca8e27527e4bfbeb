import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAddressSet, isAddressRange } from './address_set.ts';

test('an address, a network or private_ranges is a range, and nothing else', () => {
  for (const text of ['10.0.0.0/8', '10.1.2.3', '2001:db8::/32', '::1', 'private_ranges', '0.0.0.0/0']) {
    assert.ok(isAddressRange(text), text);
  }
  for (const text of [
    '10.0.0.0/33',
    '10.0.0',
    'localhost',
    '10.0.0.0/8/8',
    '::/129',
    '',
    'fe80::1%eth0',
    '10.0.0.0/',
  ]) {
    assert.ok(!isAddressRange(text), text);
  }
});

test('a set has what its ranges have, IPv4 in IPv6 too', () => {
  const has = createAddressSet(['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']);
  for (const address of ['10.255.0.1', '::ffff:10.0.0.1', '2001:db8:1::5', '192.0.2.7'])
    assert.ok(has(address), address);
  for (const address of ['11.0.0.1', '::ffff:11.0.0.1', '2001:db9::1', '192.0.2.8', 'garbage', '']) {
    assert.ok(!has(address), address);
  }
  const ours = createAddressSet(['private_ranges']);
  for (const address of ['127.0.0.1', '192.168.1.1', '172.31.0.1', '::1', 'fd00::1', 'fe80::1'])
    assert.ok(ours(address));
  for (const address of ['172.32.0.1', '8.8.8.8', '2001:db8::1']) assert.ok(!ours(address));
  assert.ok(!createAddressSet([])('127.0.0.1'));
});
