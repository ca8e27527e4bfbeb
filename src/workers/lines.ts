/**
 * What a worker writes, line by line. Bytes are cut at line ends before they become text, so that no character is ever cut,
 * and what nobody wants is counted without becoming text at all.
 */

/** Bytes. Longer lines come in pieces, each but the last marked. */
export const MAX_LINE = 16 * 1024;
const CUT = '…';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
/** Looking for each line end costs more than looking at each byte, when lines are shorter than about this. */
const SHORT_LINE = 24;
const SAMPLE = 1024;

export interface LineSink {
  /** Whether lines are wanted at the moment. */
  wanted(): boolean;
  /** Whether this one is. */
  take(bytes: number): boolean;
  line(text: string): void;
  /** So many lines were not wanted: these. */
  lost(lines: number, bytes: Buffer): void;
}

export interface LineSplitter {
  write(chunk: Buffer): void;
  /** What has no line end is a line, too. */
  end(): void;
}

/** Empty lines are left out. A carriage return within a line is kept: what comes after it must not hide what was before. */
export function createLineSplitter(sink: LineSink): LineSplitter {
  let rest = Buffer.alloc(0);

  const piece = (bytes: Buffer, mark: string): void => {
    if (sink.take(bytes.length)) sink.line(bytes.toString('utf8') + mark);
    else sink.lost(1, bytes);
  };

  /** Gives all but the last piece of a long line; returns that. */
  const shortened = (line: Buffer): Buffer => {
    let left = line;
    while (left.length > MAX_LINE) {
      const end = characterStart(left, MAX_LINE);
      piece(left.subarray(0, end), CUT);
      left = left.subarray(end);
    }
    return left;
  };

  const whole = (line: Buffer): void => {
    let end = line.length;
    while (end > 0 && line[end - 1] === CARRIAGE_RETURN) end--;
    if (end > 0) piece(shortened(line.subarray(0, end)), '');
  };

  return {
    write: (chunk) => {
      const data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let from = 0;
      for (let at = data.indexOf(LINE_FEED); at !== -1; at = data.indexOf(LINE_FEED, from)) {
        if (!sink.wanted()) {
          const unwanted = data.subarray(from, data.lastIndexOf(LINE_FEED) + 1);
          sink.lost(countLines(unwanted), unwanted);
          from += unwanted.length;
          break;
        }
        whole(data.subarray(from, at));
        from = at + 1;
      }
      // A copy: the little that is left must not hold all that came with it.
      rest = Buffer.from(shortened(data.subarray(from)));
    },
    end: () => {
      whole(rest);
      rest = Buffer.alloc(0);
    },
  };
}

/** The last lines of what was lost, at most `count`. */
export function lastLines(bytes: Buffer, count: number): string[] {
  const lines = bytes.toString('utf8').split(/\r*\n/);
  return lines.flatMap((line) => (line === '' ? [] : line.slice(0, MAX_LINE))).slice(-count);
}

/** Those that are not empty, in what ends with a line end. */
export function countLines(bytes: Buffer): number {
  const sampled = countByByte(bytes.subarray(0, SAMPLE));
  if (sampled * SHORT_LINE > SAMPLE) return countByByte(bytes);
  let count = 0;
  let from = 0;
  for (let at = bytes.indexOf(LINE_FEED); at !== -1; at = bytes.indexOf(LINE_FEED, from)) {
    if (at > from) count++;
    from = at + 1;
  }
  return count;
}

function countByByte(bytes: Buffer): number {
  let count = 0;
  let before = LINE_FEED;
  for (const byte of bytes) {
    if (byte === LINE_FEED && before !== LINE_FEED) count++;
    before = byte;
  }
  return count;
}

/** Where the character begins whose bytes are around `at`. */
function characterStart(bytes: Buffer, at: number): number {
  let start = at;
  // Continuation bytes are 10xxxxxx; more than three of them are no UTF-8.
  while (start > at - 4 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start--;
  return start > at - 4 ? start : at;
}
