/**
 * Where a proxy's log lines go: a pipe to the control plane, the only writer of the program's stdout, or a file that all
 * proxies append to. Bounded: when the other end is slower than the requests, lines are dropped and counted rather than
 * kept or waited for.
 */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import net from 'node:net';

const MAX_UNREAD = 1024 * 1024;

export interface LogSink {
  /** Takes `count` whole lines; the memory is the sink's from now on. */
  write(lines: Buffer, count: number): void;
  readonly dropped: number;
  /** Resolves when what was taken is on its way, or can never be. */
  flushed(): Promise<void>;
}

export function createLogPipe(fd: number): LogSink {
  const socket = new net.Socket({ fd, readable: false, writable: true });
  socket.unref();
  let broken = false;
  let dropped = 0;
  // The control plane is gone; so is this process in a moment.
  socket.on('error', () => {
    broken = true;
  });
  return {
    write: (lines, count) => {
      if (broken || socket.writableLength > MAX_UNREAD) dropped += count;
      else socket.write(lines);
    },
    get dropped() {
      return dropped;
    },
    flushed: () => new Promise((resolve) => (broken ? resolve() : socket.write('', () => resolve()))),
  };
}

export interface LogFile extends LogSink {
  readonly path: string;
  /** Goes on in what has the path now: the file that was written so far may have been moved away. */
  reopen(): void;
  close(): void;
}

/** Appends to a file that exists; `onError` hears when it cannot be opened or written, and lines are lost. */
export function createLogFile(path: string, onError: (error: unknown) => void): LogFile {
  let file: FileHandle | null = null;
  let queue: Buffer[] = [];
  let queuedLines = 0;
  let queuedBytes = 0;
  let dropped = 0;
  /** One at a time, so that lines stay whole and in order. */
  let steps: Promise<void> = Promise.resolve();
  const then = (step: () => Promise<void>): void => {
    steps = steps.then(step).catch(onError);
  };
  const shut = async (): Promise<void> => {
    const old = file;
    file = null;
    await old?.close();
  };
  const reopen = async (): Promise<void> => {
    await shut();
    file = await open(path, 'a');
  };
  const writeQueue = async (): Promise<void> => {
    const batches = queue;
    const lines = queuedLines;
    queue = [];
    queuedLines = 0;
    queuedBytes = 0;
    dropped += lines;
    if (file === null) return;
    await file.writev(batches);
    dropped -= lines;
  };
  then(reopen);
  return {
    path,
    write: (lines, count) => {
      if (queuedBytes > MAX_UNREAD) {
        dropped += count;
        return;
      }
      if (queue.length === 0) then(writeQueue);
      queue.push(lines);
      queuedLines += count;
      queuedBytes += lines.length;
    },
    get dropped() {
      return dropped;
    },
    flushed: () => steps,
    reopen: () => then(reopen),
    close: () => then(shut),
  };
}
