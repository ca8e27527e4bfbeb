const HEAD_END = Buffer.from('\r\n\r\n');
const LF = 0x0a;
const CR = 0x0d;

export const HEAD_INCOMPLETE = -1;
export const HEAD_INVALID = -2;

/**
 * Where a head that begins at `from` ends: the index just past its empty line; `HEAD_INCOMPLETE` when more must come;
 * `HEAD_INVALID` when a line already ends in a bare LF, so that its sender need not be waited for.
 */
export function findHeadEnd(buffer: Buffer, from: number): number {
  const at = buffer.indexOf(HEAD_END, from);
  if (at >= 0) return at + 4;
  for (let lf = buffer.indexOf(LF, from); lf >= 0; lf = buffer.indexOf(LF, lf + 1)) {
    if (lf === from || buffer[lf - 1] !== CR) return HEAD_INVALID;
  }
  return HEAD_INCOMPLETE;
}
