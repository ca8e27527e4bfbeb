import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createStaticFields,
  encodeField,
  encodeLines,
  encodeStatus,
  HPACK_INVALID,
  HPACK_TOO_LARGE,
  HpackDecoder,
} from './hpack.ts';
import type { HpackField } from './hpack.ts';

const make = (name: string, value: string): HpackField => ({ name, value });
const statics = createStaticFields(make);

function createReader(): (hex: string, maxBytes?: number) => { code: number; fields: string[] } {
  const decoder = new HpackDecoder(make, statics);
  return (hex, maxBytes = 16_384) => {
    const bytes = Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
    const out: HpackField[] = [];
    const code = decoder.decode(bytes, 0, bytes.length, out, maxBytes);
    return { code, fields: out.map(({ name, value }) => `${name}: ${value}`) };
  };
}

test('reads the examples of RFC 7541 appendix C.3: requests without Huffman coding', () => {
  const read = createReader();
  const first = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
  assert.deepEqual(read('8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d').fields, first);
  assert.deepEqual(read('8286 84be 5808 6e6f 2d63 6163 6865').fields, [...first, 'cache-control: no-cache']);
  assert.deepEqual(read('8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65').fields, [
    ':method: GET',
    ':scheme: https',
    ':path: /index.html',
    ':authority: www.example.com',
    'custom-key: custom-value',
  ]);
});

test('reads the examples of RFC 7541 appendix C.4: requests with Huffman coding', () => {
  const read = createReader();
  const first = [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'];
  assert.deepEqual(read('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff').fields, first);
  assert.deepEqual(read('8286 84be 5886 a8eb 1064 9cbf').fields, [...first, 'cache-control: no-cache']);
  assert.deepEqual(read('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf').fields.slice(3), [
    ':authority: www.example.com',
    'custom-key: custom-value',
  ]);
});

test('the table forgets its oldest entries first, and what is larger than all of it empties it', () => {
  const read = createReader();
  const literal = (name: string, length: number): string =>
    `40${Buffer.from([name.length]).toString('hex')}${Buffer.from(name).toString('hex')}${lengthOf(length)}${'61'.repeat(length)}`;
  // 61 bytes of static table, then the newest is 62.
  assert.equal(read(literal('a', 2000)).code, 0);
  assert.equal(read(literal('b', 2000)).code, 0);
  assert.equal(read('be').fields[0]?.slice(0, 2), 'b:');
  assert.equal(read('bf').fields[0]?.slice(0, 2), 'a:');
  assert.equal(read(literal('c', 100)).code, 0);
  assert.equal(read('bf').fields[0]?.slice(0, 2), 'b:');
  assert.equal(read('c0').code, HPACK_INVALID, 'a is gone');
  assert.equal(read(literal('d', 5000)).code, 0);
  assert.equal(read('be').code, HPACK_INVALID);
  for (let i = 0; i < 500; i++) read(literal('x', i));
  assert.equal(read('be').fields[0], `x: ${'a'.repeat(499)}`);
});

function lengthOf(length: number): string {
  const out = Buffer.alloc(8);
  return out.subarray(0, encodeLength(length, out)).toString('hex');
}

function encodeLength(length: number, out: Buffer): number {
  if (length < 127) return ((out[0] = length), 1);
  out[0] = 127;
  let rest = length - 127;
  let at = 1;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out[at++] = (rest % 128) + 128;
  out[at++] = rest;
  return at;
}

test('a table of no size keeps nothing', () => {
  const read = createReader();
  assert.equal(read('20 4001 61 01 62').code, 0);
  assert.equal(read('be').code, HPACK_INVALID);
});

for (const [what, hex] of [
  ['index 0', '80'],
  ['an index beyond the tables', 'be'],
  ['a name beyond the tables', '7f 20 01 61'],
  ['an integer that does not end', 'ff ff ff ff ff ff ff'],
  ['an integer that is cut', 'ff'],
  ['a literal that is cut', '40 03 61'],
  ['a literal without a value', '40 01 61'],
  ['a size update beyond what we allow', '3f e2 1f'],
  ['a size update behind a field', '82 20'],
  ['the end of string within a string', '40 01 61 84 ff ff ff ff'],
  ['padding of a byte and more', '40 01 61 82 1f ff'],
  ['padding of zeros', '40 01 61 81 18'],
] as const) {
  test(`refuses ${what}`, () => assert.equal(createReader()(hex).code, HPACK_INVALID));
}

test('says when there is more than was asked for, and keeps its table right', () => {
  const read = createReader();
  const { code, fields } = read('40 01 61 03 626262 82 82', 12);
  assert.equal(code, HPACK_TOO_LARGE);
  assert.deepEqual(fields, ['a: bbb']);
  assert.deepEqual(read('be').fields, ['a: bbb']);
});

test('what is encoded is what is decoded', () => {
  const read = createReader();
  const out = Buffer.alloc(100_000);
  let end = encodeStatus(200, out, 0);
  end = encodeStatus(418, out, end);
  end = encodeField('content-length', '5', out, end);
  end = encodeField('x-long', 'v'.repeat(60_000), out, end);
  const lines = encodeLines('Content-Type: text/plain\r\nX-Thing: caf\xe9\r\nEmpty: \r\n');
  lines.copy(out, end);
  end += lines.length;
  assert.deepEqual(read(out.subarray(0, end).toString('hex'), 70_000).fields, [
    ':status: 200',
    ':status: 418',
    'content-length: 5',
    `x-long: ${'v'.repeat(60_000)}`,
    'content-type: text/plain',
    'x-thing: caf\xe9',
    'empty: ',
  ]);
});
