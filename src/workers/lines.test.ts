import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countLines, createLineSplitter, lastLines, MAX_LINE } from './lines.ts';
import type { LineSink } from './lines.ts';

interface Read {
  readonly lines: string[];
  lost: number;
}

function read(chunks: readonly Buffer[], sink: Partial<LineSink> = {}): Read {
  const result: Read = { lines: [], lost: 0 };
  const splitter = createLineSplitter({
    wanted: () => true,
    take: () => true,
    line: (line) => result.lines.push(line),
    lost: (lines) => (result.lost += lines),
    ...sink,
  });
  for (const chunk of chunks) splitter.write(chunk);
  splitter.end();
  return result;
}

test('gives whole lines, and the last one without an end', () => {
  assert.deepEqual(read([Buffer.from('a\nb\r\n\n\r\nc')]).lines, ['a', 'b', 'c']);
});

test('puts characters together that were cut anywhere', () => {
  const bytes = Buffer.from('ä€\n🦀 ok\nпривет');
  for (let at = 1; at < bytes.length; at++) {
    assert.deepEqual(
      read([bytes.subarray(0, at), bytes.subarray(at)]).lines,
      ['ä€', '🦀 ok', 'привет'],
      `cut at ${at}`,
    );
  }
  const one = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
  assert.deepEqual(read(one).lines, ['ä€', '🦀 ok', 'привет']);
});

test('a carriage return hides nothing of its line', () => {
  assert.deepEqual(read([Buffer.from('login of root failed\rall is well\n')]).lines, [
    'login of root failed\rall is well',
  ]);
});

test('what has no end comes in bounded, marked pieces, between characters', () => {
  const text = `x${'€'.repeat(20_000)}`;
  const bytes = Buffer.from(text);
  for (const size of [100, 65_536, bytes.length]) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    const { lines } = read(chunks);
    assert.equal(lines.length, Math.ceil(bytes.length / MAX_LINE));
    assert.ok(lines.every((line) => Buffer.byteLength(line) <= MAX_LINE + 3));
    assert.ok(lines.slice(0, -1).every((line) => line.endsWith('…')));
    assert.equal(lines.map((line, i) => (i < lines.length - 1 ? line.slice(0, -1) : line)).join(''), text);
  }
});

test('what is no UTF-8 breaks nothing', () => {
  const { lines } = read([Buffer.alloc(40_000, 0x80), Buffer.from([0x0a, 0xff, 0x0a])]);
  assert.equal(lines.at(-1), '\ufffd');
  assert.equal(lines.length, 4);
});

test('every line is told or counted, whenever nobody wants any more', () => {
  const written = Array.from({ length: 5_000 }, (_, i) => `line ${i}`);
  const bytes = Buffer.from(`${written.join('\n')}\n`);
  for (const size of [1, 7, 1_000, 65_536]) {
    let taken = 0;
    let asked = 0;
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    const { lines, lost } = read(chunks, {
      // Changes its mind, within chunks and between them.
      wanted: () => ++asked % 1_000 < 600,
      take: () => ++taken % 10 !== 0,
    });
    assert.ok(lines.length > 0 && lost > 0);
    assert.equal(lines.length + lost, written.length, `chunks of ${size}`);
  }
});

test('counts lines however long they are, and not empty ones', () => {
  for (const line of ['y', 'a line of a usual length, as programs write them', 'x'.repeat(3_000)]) {
    assert.equal(countLines(Buffer.from(`${line}\n`.repeat(2_000))), 2_000);
    assert.equal(countLines(Buffer.from(`${line}\n\n`.repeat(2_000))), 2_000);
  }
});

test('the last lines of what was lost are there for whoever asks', () => {
  assert.deepEqual(lastLines(Buffer.from('a\nb\r\n\nc\n'), 2), ['b', 'c']);
});
