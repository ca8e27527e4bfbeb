/** What is written for readers: the reference says what the schema does. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { PAGE, referencePage } from '../build/reference.ts';

const reference = readFileSync(PAGE, 'utf8');

test('the reference has every key as the schema has it', () => {
  assert.equal(reference, referencePage(reference), 'write it anew: npm run readme');
});

test('every key in the reference says what it is for', () => {
  assert.deepEqual(reference.match(/^\| `.*\|\s*\|$/gm), null);
});
