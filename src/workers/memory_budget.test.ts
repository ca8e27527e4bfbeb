import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roomFor } from './memory_budget.ts';

const MIB = 1024 ** 2;
const ready = (mib: number) => ({ ready: true, memory: mib * MIB });
const starting = (mib: number | null) => ({ ready: false, memory: mib === null ? null : mib * MIB });
const machine = (limit: number, available: number) => ({ limit: limit * MIB, available: available * MIB });

test('what a worker holds, and a tenth, must fit into what is left beside the reserve', () => {
  assert.equal(roomFor([ready(100)], machine(1_000, 210)).more, 1);
  assert.equal(roomFor([ready(100)], machine(1_000, 209)).more, 0);
  assert.equal(roomFor([ready(100)], machine(1_000, 900)).more, 7);
});

test('a worker that has not grown yet is counted as if it had', () => {
  assert.equal(roomFor([ready(100), ready(40)], machine(1_000, 269)).more, 0);
  assert.equal(roomFor([ready(100), ready(40)], machine(1_000, 270)).more, 1);
  assert.equal(roomFor([ready(100), starting(null), starting(10)], machine(1_000, 399)).more, 0);
  assert.equal(roomFor([ready(100), starting(null), starting(10)], machine(1_000, 400)).more, 1);
});

test('one giant among many does not speak for all of them', () => {
  const many = [...Array.from({ length: 19 }, () => ready(100)), ready(900)];
  assert.equal(roomFor(many, machine(10_000, 1_000)).more, 6);
});

test('the reserve of a large machine is no tenth of it', () => {
  assert.equal(roomFor([ready(1_000)], machine(64_000, 1_355)).more, 0);
  assert.equal(roomFor([ready(1_000)], machine(64_000, 1_356)).more, 1);
});

test('nothing is refused while nobody knows', () => {
  assert.equal(roomFor([], machine(100, 0)).more, Infinity);
  assert.equal(roomFor([starting(50)], machine(100, 0)).more, Infinity);
  assert.equal(roomFor([ready(50)], null).more, Infinity);
});

test('the sum is told', () => {
  assert.equal(
    roomFor([ready(410), ready(400), ready(410)], machine(1_024, 200)).sum,
    '3 × 410 MiB + reserve 102 MiB of 1024 MiB leave 88 MiB, another needs 451 MiB',
  );
});
