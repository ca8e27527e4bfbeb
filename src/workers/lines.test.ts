import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { readLines } from './lines.ts';

async function read(...chunks: readonly Buffer[]): Promise<string[]> {
  const stream = new PassThrough();
  const lines: string[] = [];
  readLines(stream, (line) => lines.push(line));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await once(stream, 'end');
  return lines;
}

test('gives whole lines, and the last one without an end', async () => {
  assert.deepEqual(await read(Buffer.from('a\nb\r\n\nc')), ['a', 'b', 'c']);
});

test('puts characters together that were cut', async () => {
  const bytes = Buffer.from('ä\n€\n');
  assert.deepEqual(await read(bytes.subarray(0, 1), bytes.subarray(1, 5), bytes.subarray(5)), ['ä', '€']);
});

test('cuts what has no end into bounded pieces', async () => {
  const lines = await read(Buffer.from('x'.repeat(20_000)));
  assert.deepEqual(
    lines.map((line) => line.length),
    [8193, 8193, 20_000 - 2 * 8192],
  );
});
