import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchSocket, readHandover } from './inherited.ts';
import type { InheritedSocket } from './inherited.ts';

const HANDED = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'http:https' };

test('only what is meant for this process is taken', () => {
  assert.deepEqual(readHandover(HANDED, 7), { count: 2, names: ['http', 'https'] });
  assert.equal(readHandover(HANDED, 8), null);
  assert.equal(readHandover({ LISTEN_PID: '7' }, 7), null);
});

for (const LISTEN_FDS of ['0', '-1', 'x', '1e9', '']) {
  test(`"${LISTEN_FDS}" is no number of sockets`, () => {
    assert.equal(readHandover({ LISTEN_PID: '7', LISTEN_FDS }, 7), null);
  });
}

const socket = (name: string, host: string, port: number): InheritedSocket => ({
  name,
  host,
  port,
  handle: { getsockname: () => 0 },
});

test('an entrypoint gets the socket of its name, else the one at its address', () => {
  const sockets = [
    socket('proxy.socket', '::', 80),
    socket('proxy.socket', '::', 443),
    socket('https', '10.0.0.1', 443),
  ];
  assert.equal(matchSocket(sockets, { name: 'https', host: null, port: 443 })?.host, '10.0.0.1');
  assert.equal(matchSocket(sockets, { name: 'http', host: null, port: 80 })?.port, 80);
  assert.equal(matchSocket(sockets, { name: 'other', host: null, port: 443 })?.host, '::');
  assert.equal(matchSocket(sockets, { name: 'other', host: '10.0.0.2', port: 443 }), null);
  assert.equal(matchSocket(sockets, { name: 'https', host: null, port: 8443 }), null);
});
