import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from './nearest.ts';

const KEYS = ['command', 'upstreams', 'directory', 'env', 'workers', 'health_check', 'timeouts'];

test('finds what was mistyped, and what other tools call it', () => {
  const cases: readonly (readonly [string, string | null])[] = [
    ['comand', 'command'],
    ['wokrers', 'workers'],
    ['Workers', 'workers'],
    ['health-check', 'health_check'],
    ['replicas', 'workers'],
    ['environment', 'env'],
    ['proxy_pass', 'upstreams'],
    ['xyzzy', null],
  ];
  for (const [word, expected] of cases) assert.equal(nearest(word, KEYS), expected, word);
});
