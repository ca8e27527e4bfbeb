/** Connects again and again, a few at a time, each with a full handshake or each with the session of one before. */
import { once } from 'node:events';
import { shakeHands } from './connection.ts';
import { serve } from './protocol.ts';

const LANES = 8;

export interface HandshakesOptions {
  readonly port: number;
  readonly resume: boolean;
  readonly seconds: number;
}

export interface HandshakesResult {
  /** How long each took. */
  readonly ms: readonly number[];
}

serve<HandshakesOptions, HandshakesResult>(async ({ port, resume, seconds }) => {
  const connect = async (resumed?: Buffer): Promise<{ readonly ms: number; readonly session: Buffer }> => {
    const { socket, ms, session } = await shakeHands(port, resumed);
    const closed = once(socket, 'close');
    socket.resume().end();
    await closed;
    return { ms, session };
  };
  const sessions = await Promise.all(
    Array.from({ length: LANES }, async () => (resume ? (await connect()).session : undefined)),
  );
  return async () => {
    const until = performance.now() + seconds * 1e3;
    const ms: number[] = [];
    await Promise.all(
      sessions.map(async (session) => {
        while (performance.now() < until) ms.push((await connect(session)).ms);
      }),
    );
    return { ms };
  };
});
