/** What a proxy logs, on its way through the control plane. */
import net from 'node:net';

/** Resolves at the stream's end. Several proxies' lines must not be mixed: what has no line end yet waits for it. */
export function passWholeLines(stream: unknown, write: (lines: Buffer) => void): Promise<void> {
  if (!(stream instanceof net.Socket)) throw new Error('a proxy has no pipe for its log');
  let rest: Buffer | null = null;
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end > 0) {
      write(rest === null ? chunk.subarray(0, end) : Buffer.concat([rest, chunk.subarray(0, end)]));
      rest = null;
    }
    if (end < chunk.length) rest = rest === null ? chunk.subarray(end) : Buffer.concat([rest, chunk.subarray(end)]);
  });
  return new Promise((resolve) => stream.once('close', () => resolve()));
}
