/**
 * The key of session tickets: one for all proxies, in memory only, new every day. Whoever learns it can read what was
 * recorded of connections resumed with it. Node takes one key at a time: tickets of the key before mean a full handshake.
 */
import { randomBytes } from 'node:crypto';
import { sleep } from '../lifecycle.ts';
import type { TicketKeysPart } from '../snapshot.ts';

const ROTATION_MS = 86_400_000;

export interface TicketKeys {
  /** Another key from now on; resolves when every proxy has it. */
  rotate(): Promise<void>;
}

export function createTicketKeys(publish: (part: TicketKeysPart) => Promise<void>, signal: AbortSignal): TicketKeys {
  // Binds browsers to workers: it must outlive a rotation, or they would all be sent elsewhere.
  const affinityKey = randomBytes(32).toString('base64');
  const rotate = (): Promise<void> => publish({ key: randomBytes(48).toString('base64'), affinityKey });
  void (async () => {
    while (!signal.aborted) {
      void rotate();
      await sleep(ROTATION_MS, signal);
    }
  })();
  return { rotate };
}
