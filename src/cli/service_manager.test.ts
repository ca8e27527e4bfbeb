import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchdogMs } from './service_manager.ts';

test('silence is broken three times as often as it must be, when somebody listens for us', () => {
  assert.equal(watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '7' }, 7), 20_000);
  assert.equal(watchdogMs({ WATCHDOG_USEC: '60000000' }, 7), 20_000);
  assert.equal(watchdogMs({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '8' }, 7), null);
  for (const WATCHDOG_USEC of ['', '0', '-1', 'soon', undefined]) assert.equal(watchdogMs({ WATCHDOG_USEC }, 7), null);
});
