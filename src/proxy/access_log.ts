/** Access lines, written one by one into a batch that is handed on whole. */
import { ACCESS_LINES } from './access_lines.ts';
import type { AccessFormat, AccessRecord } from './access_lines.ts';
import type { LogSink } from './log_sinks.ts';

const FLUSH_INTERVAL_MS = 100;
const BATCH_SIZE = 64 * 1024;

export interface AccessLog {
  /** The record is the caller's again once this returns. */
  write(record: AccessRecord): void;
  flush(): void;
}

export interface AccessLogOptions {
  readonly format: AccessFormat;
  /** The share of requests that get a line; errors always do. */
  readonly sample: number;
  readonly sink: LogSink;
}

/** `options` is asked for at each line. */
export function createAccessLog(options: () => AccessLogOptions): AccessLog {
  let batch = Buffer.allocUnsafeSlow(BATCH_SIZE);
  let length = 0;
  let count = 0;
  const flush = (): void => {
    if (count === 0) return;
    options().sink.write(batch.subarray(0, length), count);
    batch = Buffer.allocUnsafeSlow(BATCH_SIZE);
    length = 0;
    count = 0;
  };
  setInterval(flush, FLUSH_INTERVAL_MS).unref();
  return {
    write: (record) => {
      const { format, sample } = options();
      if (sample < 1 && !isError(record) && Math.random() >= sample) return;
      const line = ACCESS_LINES[format](record);
      if (length + line.length > BATCH_SIZE) flush();
      // Every character is of ASCII.
      length += batch.write(line, length, 'latin1');
      count++;
    },
    flush,
  };
}

function isError({ status, failure, retryCause }: AccessRecord): boolean {
  return status >= 400 || failure !== null || retryCause !== null;
}
