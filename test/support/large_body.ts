/** A body as large as it is wanted, the same each time, no two pieces alike: what is lost, doubled or moved shows in its hash. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

const PIECE = 256 * 1024;

const noise = Buffer.alloc(PIECE);
let seed = 1;
for (let i = 0; i < PIECE; i++) noise[i] = (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 16;

export function* pieces(size: number): Generator<Buffer> {
  for (let at = 0; at < size; at += PIECE) {
    const piece = Buffer.from(noise.subarray(0, Math.min(PIECE, size - at)));
    if (piece.length >= 8) piece.writeDoubleBE(at);
    yield piece;
  }
}

export function hashOf(size: number): string {
  const hash = createHash('sha256');
  for (const piece of pieces(size)) hash.update(piece);
  return hash.digest('hex');
}

export function writeBody(file: string, size: number): void {
  const fd = openSync(file, 'w');
  for (const piece of pieces(size)) writeSync(fd, piece);
  closeSync(fd);
}
