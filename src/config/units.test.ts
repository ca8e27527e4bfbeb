import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration, parseSize } from './units.ts';

test('reads durations with their unit, and nothing without one', () => {
  const cases: readonly (readonly [string, number | null])[] = [
    ['250ms', 250],
    ['10s', 10_000],
    ['1.5s', 1_500],
    ['5m', 300_000],
    ['24h', 86_400_000],
    ['1h30m', 5_400_000],
    ['0', 0],
    ['0s', 0],
    ['10', null],
    ['10 s', null],
    ['10sec', null],
    ['-1s', null],
    ['', null],
    ['25d', null],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});

test('reads sizes in binary and decimal units, and plain bytes', () => {
  const cases: readonly (readonly [string, number | null])[] = [
    ['1024', 1024],
    ['64KiB', 65_536],
    ['10MiB', 10_485_760],
    ['1.5 GiB', 1_610_612_736],
    ['5MB', 5_000_000],
    ['10mb', null],
    ['10K', null],
    ['-1', null],
    ['', null],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text);
});
