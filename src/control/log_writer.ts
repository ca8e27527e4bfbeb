/**
 * The only writer of the program's stdout. Bounded: when its reader is slower than we are, lines are dropped and counted
 * instead of filling memory or standing still.
 */
const MAX_QUEUED = 4 * 1024 * 1024;

export interface LogWriter {
  /** Takes whole lines. */
  write(lines: string | Buffer): void;
  readonly dropped: number;
  /** Resolves when all that was taken is handed to the system. */
  flush(): Promise<void>;
}

export function createLogWriter(stream: NodeJS.WritableStream & { readonly writableLength: number }): LogWriter {
  let dropped = 0;
  let broken = false;
  // A reader that goes away (a closed pipe) must not end the service.
  stream.on('error', () => {
    broken = true;
  });
  return {
    write: (lines) => {
      if (broken || stream.writableLength > MAX_QUEUED) dropped += lines.toString().split('\n').length - 1;
      else stream.write(lines);
    },
    get dropped() {
      return dropped;
    },
    flush: () => new Promise((resolve) => (broken ? resolve() : stream.write('', () => resolve()))),
  };
}
