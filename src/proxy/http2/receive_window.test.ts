import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReceiveWindow } from './receive_window.ts';

test('a window takes no more than it was opened for, and opens by halves', () => {
  const window = new ReceiveWindow(100);
  assert.equal(window.receive(60), true);
  assert.equal(window.take(49), 0);
  assert.equal(window.take(11), 60);
  assert.equal(window.receive(100), true);
  assert.equal(window.receive(1), false);
  window.reopen();
  assert.equal(window.receive(100), true);
});
