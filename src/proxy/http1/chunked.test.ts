import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkedDecoder, DECODED_DATA, DECODED_END, DECODED_ERROR, DECODED_MORE } from './chunked.ts';

/** Decodes input given in pieces of `size` bytes. */
function decode(input: string, size: number): { body: string; end: 'complete' | 'error' | 'more'; rest: string } {
  const decoder = new ChunkedDecoder();
  const bytes = Buffer.from(input, 'latin1');
  let body = '';
  for (let from = 0; from < bytes.length; from += size) {
    const piece = bytes.subarray(from, from + size);
    let at = 0;
    while (at < piece.length) {
      const code = decoder.next(piece, at);
      at = decoder.position;
      if (code === DECODED_DATA) body += piece.toString('latin1', decoder.dataStart, decoder.dataEnd);
      if (code === DECODED_ERROR) return { body, end: 'error', rest: '' };
      if (code === DECODED_END) return { body, end: 'complete', rest: bytes.toString('latin1', from + at) };
      if (code === DECODED_MORE) assert.equal(at, piece.length);
    }
  }
  return { body, end: 'more', rest: '' };
}

const SIZES = [1, 2, 3, 7, 1000];

test('decodes however the bytes are cut', () => {
  for (const size of SIZES) {
    assert.deepEqual(decode('5\r\nhello\r\n00A;x=y;z="a\\"b"\r\n0123456789\r\n0\r\nT: v\r\n\r\nnext', size), {
      body: 'hello0123456789',
      end: 'complete',
      rest: 'next',
    });
  }
});

test('waits for the rest', () => {
  for (const input of ['5', '5\r\nhel', '5\r\nhello\r\n', '0\r\n', '0\r\nA: b\r\n']) {
    assert.equal(decode(input, 1000).end, 'more', input);
  }
});

test('refuses everything but the grammar', () => {
  const wrong = [
    '\r\n',
    ';x\r\n',
    '0x5\r\nhello\r\n',
    '+5\r\nhello\r\n',
    '-5\r\nhello\r\n',
    ' 5\r\nhello\r\n',
    '5 \r\nhello\r\n',
    '5\nhello\r\n',
    '5\r\rhello\r\n',
    '5\r\nhelloX\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5\r\nhello\r0\r\n\r\n',
    '5;a\nb\r\nhello\r\n',
    '5;a="\r\nhello\r\n',
    '5;a\x01\r\n',
    '100000000000000\r\n',
    '20000000000000\r\n',
    'FFFFFFFFFFFFFFFF\r\n',
    '0\r\nContent-Length : 5\r\n\r\n',
    '0\r\nContent-Length: 5\r\n\r\n',
    '0\r\nA: b\r\nTRANSFER-Encoding: chunked\r\n\r\n',
    '0\r\nhost: b\r\n\r\n',
    '0\r\n A: b\r\n\r\n',
    '0\r\nA: b\n\r\n',
    '0\r\nA\r\n\r\n',
    '0\r\n\n',
  ];
  for (const input of wrong) {
    for (const size of SIZES) assert.equal(decode(input, size).end, 'error', JSON.stringify(input));
  }
});

test('bounds extensions over the whole body, and trailers', () => {
  assert.equal(decode(`1;${'a'.repeat(100)}\r\nx\r\n`.repeat(200), 1000).end, 'error');
  assert.equal(decode(`0\r\n${`A: ${'b'.repeat(100)}\r\n`.repeat(90)}`, 1000).end, 'error');
});
