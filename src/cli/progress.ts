/** That something is going on, on a terminal; nothing elsewhere. */
import type { WriteStream } from 'node:tty';

const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const EVERY_MS = 100;

/** One line of `stream`, gone when it is disposed of. */
export function showProgress(stream: Pick<WriteStream, 'isTTY' | 'write'>, text: string): Disposable {
  if (!stream.isTTY) return { [Symbol.dispose]: () => {} };
  const begun = Date.now();
  let frame = 0;
  const draw = (): void => {
    const seconds = Math.floor((Date.now() - begun) / 1_000);
    stream.write(`\r\u001b[2K${FRAMES[frame++ % FRAMES.length]} ${text} ${seconds}s`);
  };
  const timer = setInterval(draw, EVERY_MS);
  draw();
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      stream.write('\r\u001b[2K');
    },
  };
}
