import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idleMsOf } from './keep_alive.ts';

test('an idle connection is used no longer than a good while before its worker closes it', () => {
  const cases: Record<string, number> = {
    'timeout=5': 4_000,
    'timeout=5, max=100': 4_000,
    'max=100, Timeout = 60': 59_000,
    'timeout=1': 500,
    'timeout=0': 0,
    'max=100': Infinity,
    'xtimeout=5': Infinity,
    'timeout=soon': Infinity,
    '': Infinity,
  };
  for (const [value, ms] of Object.entries(cases)) {
    assert.equal(idleMsOf(value), ms, value);
    assert.equal(idleMsOf(value), ms, `${value} again`);
  }
});
