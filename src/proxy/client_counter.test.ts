import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientOf, createClientCounter } from './client_counter.ts';

test('counts each client up to its limit and forgets who has left', () => {
  const counter = createClientCounter();
  assert.ok(counter.enter('10.0.0.1', 2));
  assert.ok(counter.enter('10.0.0.1', 2));
  assert.ok(!counter.enter('10.0.0.1', 2));
  assert.ok(counter.enter('10.0.0.2', 2));
  counter.leave('10.0.0.1');
  assert.ok(counter.enter('10.0.0.1', 2));
  for (let i = 0; i < 100; i++) assert.ok(counter.enter('10.0.0.3', 0));
});

test('an IPv6 client is its /64', () => {
  assert.equal(clientOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2');
  assert.equal(clientOf('2001:db8::1'), '2001:db8:0:0');
  assert.equal(clientOf('2001:db8::1:2:3:4:5'), '2001:db8:0:1');
  assert.equal(clientOf('::1'), '0:0:0:0');
  assert.equal(clientOf('10.0.0.1'), '10.0.0.1');
});
