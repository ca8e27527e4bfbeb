/** The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B), decoded four bits at a time. */

/** Bits of each byte's code, and of the end of string; the codes themselves follow, in order of length and byte. */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];
const END_OF_STRING = 256;

const FAILED = 0x8000_0000;
const EMITS = 0x4000_0000;
/** For each state and four bits: the next state, with the byte that is complete, if one is, in bits 16 to 23. */
const { steps: STEPS, mayEnd: MAY_END } = buildSteps();

/** Decodes bytes `start` to `end` into `out`; returns how many, or -1 when they are no valid code or do not fit. */
export function decodeHuffman(bytes: Buffer, start: number, end: number, out: Buffer): number {
  let state = 0;
  let length = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    for (let shift = 4; shift >= 0; shift -= 4) {
      const step = STEPS[(state << 4) | ((byte >> shift) & 15)] ?? FAILED;
      if ((step & FAILED) !== 0) return -1;
      if ((step & EMITS) !== 0) {
        if (length === out.length) return -1;
        out[length++] = (step >> 16) & 0xff;
      }
      state = step & 0xffff;
    }
  }
  return MAY_END[state] === 1 ? length : -1;
}

function buildSteps(): { steps: Uint32Array; mayEnd: Uint8Array } {
  // A binary tree: nodes are states, leaves are ~symbol.
  const tree: [number, number][] = [[0, 0]];
  const order = LENGTHS.map((length, symbol) => ({ length, symbol })).toSorted(
    (a, b) => a.length - b.length || a.symbol - b.symbol,
  );
  let code = 0;
  let bits = 0;
  for (const { length, symbol } of order) {
    code *= 2 ** (length - bits);
    bits = length;
    let node = 0;
    for (let i = length - 1; i > 0; i--) {
      const side = bitOf(code, i);
      const branch = tree[node] ?? [0, 0];
      if (branch[side] === 0) branch[side] = tree.push([0, 0]) - 1;
      node = branch[side];
    }
    (tree[node] ?? [0, 0])[bitOf(code, 0)] = ~symbol;
    code++;
  }
  const steps = new Uint32Array(tree.length * 16);
  tree.forEach((_, state) => {
    for (let four = 0; four < 16; four++) steps[(state << 4) | four] = walk(tree, state, four);
  });
  // RFC 7541 section 5.2: what is left over are the first bits of the end of string, all ones, and less than a byte.
  const mayEnd = new Uint8Array(tree.length);
  for (let state = 0, depth = 0; depth < 8; depth++) {
    mayEnd[state] = 1;
    state = tree[state]?.[1] ?? 0;
  }
  return { steps, mayEnd };
}

function walk(tree: readonly [number, number][], from: number, four: number): number {
  let node = from;
  let emitted = 0;
  for (let i = 3; i >= 0; i--) {
    const next = tree[node]?.[bitOf(four, i)] ?? 0;
    if (next === ~END_OF_STRING) return FAILED >>> 0;
    if (next < 0) emitted = (EMITS | (~next << 16)) >>> 0;
    node = Math.max(next, 0);
  }
  return (emitted | node) >>> 0;
}

function bitOf(code: number, i: number): 0 | 1 {
  return (Math.floor(code / 2 ** i) & 1) as 0 | 1;
}
