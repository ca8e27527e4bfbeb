/**
 * A proxy's way to the log: a pipe to the control plane, the only writer of the program's stdout. Bounded: when the other
 * end is slower than the requests, lines are dropped and counted rather than kept or waited for.
 */
import net from 'node:net';

const MAX_UNREAD = 1024 * 1024;

export interface LogPipe {
  /** Takes `count` whole lines. */
  write(lines: string, count: number): void;
  readonly dropped: number;
  /** Resolves when what was taken is on its way, or can never be. */
  flushed(): Promise<void>;
}

export function createLogPipe(fd: number): LogPipe {
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
