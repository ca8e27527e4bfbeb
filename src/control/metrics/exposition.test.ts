import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expose } from './exposition.ts';
import { counter, gauge, histogram } from './families.ts';
import { BUCKETS_MS, HISTOGRAM_LENGTH } from '../../request_counts.ts';

const OPEN = 'application/openmetrics-text; version=1.0.0';
const row = (at: number, ms: number): number[] => {
  const counts = Array.from({ length: HISTOGRAM_LENGTH }, () => 0);
  counts[at] = 1;
  counts[HISTOGRAM_LENGTH - 1] = ms;
  return counts;
};

test('counters and gauges, with labels that cannot break out of theirs', async () => {
  const families = [
    counter('a_total', 'of A', ['name'], [[3, 'x"\\\n} 1']]),
    gauge('b', 'of B', [], [[0.5]]),
    counter('c_total', 'of none', ['name'], []),
  ];
  const { text, contentType } = await expose(families, '');
  assert.equal(contentType, 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(
    text,
    `# HELP a_total of A
# TYPE a_total counter
a_total{name="x\\"\\\\\\n} 1"} 3
# HELP b of B
# TYPE b gauge
b 0.5
# HELP c_total of none
# TYPE c_total counter
`,
  );
  const open = await expose(families, OPEN);
  assert.match(open.text, /^# HELP a of A\n# TYPE a counter\na_total\{.*\} 3\n/);
  assert.match(open.text, /\n# EOF\n$/);
});

test('a histogram grows from bucket to bucket, in seconds, to what is longer than all', async () => {
  const last = BUCKETS_MS.length;
  const { text } = await expose([histogram('t_seconds', 'time', ['s'], [[row(last, 90_000), 'a']])], '');
  const lines = text.split('\n').slice(2);
  assert.equal(lines[0], 't_seconds_bucket{s="a",le="0.001"} 0');
  assert.deepEqual(lines.slice(-4), [
    't_seconds_bucket{s="a",le="+Inf"} 1',
    't_seconds_sum{s="a"} 90',
    't_seconds_count{s="a"} 1',
    '',
  ]);
});

test('a family of many is one family, and others are served meanwhile', async () => {
  const many = Array.from({ length: 1_001 }, (_, i) => [i, `s${i}`] as const);
  const families = [counter('a_total', 'of A', ['s'], many), gauge('b', 'of B', [], [[1]])];
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  for (const accept of ['', OPEN]) {
    const { text } = await expose(families, accept);
    assert.equal(text.match(/^# TYPE a/gm)?.length, 1);
    assert.deepEqual(
      [...text.matchAll(/^a_total\{s="s(\d+)"\} (\d+)$/gm)].map(([, name, value]) => [name, value]),
      many.map(([i]) => [String(i), String(i)]),
    );
  }
  clearInterval(timer);
  assert.ok(turns > 0);
});
