/** What one worker process writes: into the log, as far as that is bearable, and its last lines for the event of its end. */
import { finished } from 'node:stream/promises';
import type { Readable } from 'node:stream';
import { createAllowance } from './allowance.ts';
import { createLineSplitter, lastLines } from './lines.ts';
import type { Logger } from '../log.ts';

/**
 * Of each stream. A line costs the control plane 2 µs, so that one that writes as fast as it can takes 2 % of a CPU in lines;
 * what is read beyond that is only counted.
 */
const ALLOWED = { lines: 10_000, bytes: 4 * 1024 * 1024, windowMs: 1_000 };
/**
 * Of both streams: reading and counting 200 MB/s takes half a CPU, and what writes on without end would take a whole one
 * from the proxies. Beyond this it waits, as it would for a disk.
 */
const READ = { lines: Infinity, bytes: 26 * 1024 * 1024, windowMs: 100 };
/** Losses are told so often. */
const TELL_MS = 5_000;
const KEPT_LINES = 200;

export interface OutputOptions {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Name of the worker in its events. */
  readonly worker: string;
  readonly log: Logger;
}

export interface Output {
  /** Its last lines, the latest last, also those the log did not get. */
  tail(count: number): readonly string[];
  /** Lines the log did not get. */
  readonly lostLines: number;
  /** Resolves when nobody can write any more. */
  readonly ended: Promise<void>;
}

export function readOutput({ stdout, stderr, worker, log }: OutputOptions): Output {
  const kept: string[] = [];
  let lostLines = 0;
  let untold = { lines: 0, bytes: 0 };
  let telling: NodeJS.Timeout | null = null;

  const keep = (lines: readonly string[]): void => {
    kept.push(...lines);
    if (kept.length > KEPT_LINES) kept.splice(0, kept.length - KEPT_LINES);
  };

  const tell = (): void => {
    if (telling !== null) clearTimeout(telling);
    telling = null;
    if (untold.lines > 0) log.warn('worker_output_lost', { worker, ...untold });
    untold = { lines: 0, bytes: 0 };
  };

  /** Becomes text only when somebody asks for it. */
  const unread = new Map<string, Buffer>();
  const readUnread = (stream: string): void => {
    const bytes = unread.get(stream);
    if (bytes !== undefined) keep(lastLines(bytes, KEPT_LINES));
    unread.delete(stream);
  };

  const reading = createAllowance(READ);
  const follow = async (stream: 'stdout' | 'stderr', source: Readable): Promise<void> => {
    const allowance = createAllowance(ALLOWED);
    const splitter = createLineSplitter({
      wanted: () => allowance.open(Date.now()),
      take: (bytes) => allowance.take(bytes, Date.now()),
      line: (line) => {
        readUnread(stream);
        keep([line]);
        log.info('worker_output', { worker, stream, line });
      },
      lost: (lines, bytes) => {
        lostLines += lines;
        untold = { lines: untold.lines + lines, bytes: untold.bytes + bytes.length };
        unread.set(stream, bytes);
        telling ??= setTimeout(tell, TELL_MS).unref();
      },
    });
    source.on('data', (chunk: Buffer) => {
      splitter.write(chunk);
      if (reading.take(chunk.length, Date.now())) return;
      source.pause();
      setTimeout(() => source.resume(), READ.windowMs);
    });
    await finished(source, { writable: false }).catch(() => {});
    splitter.end();
  };

  const ended = Promise.all([follow('stdout', stdout), follow('stderr', stderr)]).then(tell);
  return {
    tail: (count) => {
      for (const stream of unread.keys()) readUnread(stream);
      return kept.slice(-count);
    },
    get lostLines() {
      return lostLines;
    },
    ended,
  };
}
