/** Opens connections that say nothing after their handshake. */
import { shakeHands } from './connection.ts';
import { serve } from './protocol.ts';
import { sleep } from '../../../src/lifecycle.ts';
import { inLanes } from '../../support/lanes.ts';

/** After the last handshake, for what is freed late. */
const SETTLE_MS = 500;

export interface IdleOptions {
  readonly port: number;
  readonly count: number;
}

export interface IdleResult {
  /** How many are open at the end. */
  readonly open: number;
}

serve<IdleOptions, IdleResult>(({ port, count }) =>
  Promise.resolve(async () => {
    let open = 0;
    await inLanes(Array.from({ length: count }), 16, async () => {
      const { socket } = await shakeHands(port);
      open++;
      socket.resume().on('close', () => open--);
    });
    await sleep(SETTLE_MS);
    return { open };
  }),
);
