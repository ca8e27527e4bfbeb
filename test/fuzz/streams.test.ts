/** A few thousand damaged streams on every run; `npm run prove fuzz` has tens of thousands. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzStreams } from './streams.ts';

const STREAMS = 3_000;
const ALLOWED_GROWTH = 100 * 1024 * 1024;

test(`of ${STREAMS} damaged streams none gets anything through that it should not`, async (t) => {
  const { faults, examples, exits, grownBytes, forwarded, refused } = await fuzzStreams(1, STREAMS);
  t.diagnostic(`${forwarded.length} requests forwarded, ${refused} streams refused`);
  assert.deepEqual(examples, [], JSON.stringify(faults));
  assert.equal(exits, 0);
  assert.ok(grownBytes < ALLOWED_GROWTH, `a proxy grew by ${Math.round(grownBytes / 1024 / 1024)} MiB`);
  // Both things happen, or nothing was tried.
  assert.ok(forwarded.length > STREAMS / 10 && refused > STREAMS / 10);
});
