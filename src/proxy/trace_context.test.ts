import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTraceparents, isTraceparent, traceIdOf } from './trace_context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

test('a traceparent is taken as the standard says, and nothing else is', () => {
  assert.ok(isTraceparent(`00-${TRACE}-${SPAN}-01`));
  assert.ok(isTraceparent(`cc-${TRACE}-${SPAN}-01-what the future brings`));
  for (const value of [
    '',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `cc-${TRACE}-${SPAN}-01.more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-01,00-${TRACE}-${SPAN}-01`,
    ` 00-${TRACE}-${SPAN}-01`,
  ]) {
    assert.equal(isTraceparent(value), false, value);
  }
});

test('traces that begin here are valid, and each is another', () => {
  const next = createTraceparents();
  const all = Array.from({ length: 1_000 }, () => next.begin(true));
  assert.match(next.begin(false), /-00$/);
  assert.match(next.goOn(`cc-${TRACE}-${SPAN}-01-more`), new RegExp(`^00-${TRACE}-(?!${SPAN})[0-9a-f]{16}-01$`));
  assert.ok(all.every(isTraceparent));
  assert.equal(new Set(all.map(traceIdOf)).size, all.length);
});
