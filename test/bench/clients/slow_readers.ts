/** Downloads without end, many at once, each read at a steady rate. */
import { shakeHands } from './connection.ts';
import { serve } from './protocol.ts';
import { sleep } from '../../../src/lifecycle.ts';
import { inLanes } from '../../support/lanes.ts';

const TICK_MS = 20;
const MAX_ALLOWANCE_MS = 50;

export interface SlowReadersOptions {
  readonly port: number;
  readonly count: number;
  readonly bytesPerSecond: number;
  /** Until buffers on the way are as full as they get. */
  readonly settleSeconds: number;
  readonly seconds: number;
}

export interface SlowReadersResult {
  readonly bytes: number;
}

serve<SlowReadersOptions, SlowReadersResult>(async ({ port, count, bytesPerSecond, settleSeconds, seconds }) => {
  let bytes = 0;
  const readers: ((allowance: number) => void)[] = [];
  await inLanes(Array.from({ length: count }), 16, async () => {
    const { socket } = await shakeHands(port);
    socket.write('GET /bytes?size=4294967296 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    let head = '';
    let allowed = 0;
    socket.on('data', (chunk: Buffer) => {
      if (head === '') {
        head = chunk.toString('latin1', 0, 13);
        if (head !== 'HTTP/1.1 200 ') throw new Error(`it answers ${head}`);
      }
      bytes += chunk.length;
      allowed -= chunk.length;
      if (allowed < 0) socket.pause();
    });
    socket.on('close', () => {
      throw new Error('a download ended early');
    });
    readers.push((allowance) => {
      // What was not there to be read in time is not read faster later.
      allowed = Math.min(allowed + allowance, MAX_ALLOWANCE_MS * (bytesPerSecond / 1e3));
      if (allowed >= 0 && socket.isPaused()) socket.resume();
    });
  });
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    const allowance = ((now - last) * bytesPerSecond) / 1e3;
    last = now;
    for (const allow of readers) allow(allowance);
  }, TICK_MS);
  await sleep(settleSeconds * 1e3);
  return async () => {
    bytes = 0;
    await sleep(seconds * 1e3);
    return { bytes };
  };
});
