const HEAD_END = Buffer.from('\r\n\r\n');
const LF = 0x0a;
const CR = 0x0d;

export const HEAD_INCOMPLETE = -1;
export const HEAD_INVALID = -2;

/** Of most heads all is seen at once. */
const GLANCE = 4 * 1024;

/** The first bytes as text, to look for a head's end in. */
export function glance(buffer: Buffer, from: number): string {
  return buffer.toString('latin1', from, Math.min(buffer.length, from + GLANCE));
}

/** The length of the head that the text begins with, its empty line included; 0: its end is not in there. */
export function headLength(text: string): number {
  const at = text.indexOf('\r\n\r\n');
  return at < 0 ? 0 : at + 4;
}

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
