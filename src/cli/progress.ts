/** What is going on: that it does, on a terminal, and lines of what was done, anywhere. */
import type { WriteStream } from 'node:tty';
import { print } from './terminal.ts';

const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const EVERY_MS = 100;
const CLEAR = '\r\u001b[2K';

export interface Progress extends Disposable {
  /** A line to stay, on stdout. */
  tell(line: string): void;
}

/** The same while `work` goes on. */
export async function during<T>(text: string, work: (tell: Progress['tell']) => Promise<T>): Promise<T> {
  using progress = showProgress(process.stderr, text);
  return await work(progress.tell);
}

/** One line of `stream`, gone when it is disposed of; none where no terminal is. */
export function showProgress(stream: Pick<WriteStream, 'isTTY' | 'write'>, text: string): Progress {
  if (!stream.isTTY) return { tell: print, [Symbol.dispose]: () => {} };
  const begun = Date.now();
  let frame = 0;
  const draw = (): void => {
    const seconds = Math.floor((Date.now() - begun) / 1_000);
    stream.write(`${CLEAR}${FRAMES[frame++ % FRAMES.length]} ${text} ${seconds}s`);
  };
  const timer = setInterval(draw, EVERY_MS);
  draw();
  return {
    tell: (line) => {
      stream.write(CLEAR);
      print(line);
      draw();
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      stream.write(CLEAR);
    },
  };
}
