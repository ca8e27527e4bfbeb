/** A little of the comparison with llhttp on every run; `npm run prove fuzz` has much. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareRequests, compareResponses } from './comparison.ts';
import { REQUESTS, RESPONSES } from './mutation.ts';

const MUTATIONS_EACH = 800;

test('accepts no request that llhttp refuses, and reads the others alike', async () => {
  const tally = await compareRequests(20261123, MUTATIONS_EACH);
  // The comparison itself is alive: a good part is accepted by both, and we are the stricter one.
  assert.ok(tally.both > REQUESTS.length * 20, JSON.stringify(tally));
  assert.ok(tally.oursRefusesMore > 0, JSON.stringify(tally));
});

test('accepts no response that llhttp refuses, and reads the others alike', async () => {
  const tally = await compareResponses(42, MUTATIONS_EACH);
  assert.ok(tally.both > RESPONSES.length * 20, JSON.stringify(tally));
});
