/** A client that writes exactly the bytes it is given: what no HTTP library would send. */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Daemon } from './daemon.ts';
import { eventually } from './eventually.ts';

export interface RawClient extends Disposable {
  send(bytes: string | Buffer): void;
  /** All that was received so far, as latin1. */
  received(): string;
  /** Resolves with what was received when `pattern` is in it. */
  until(pattern: RegExp, withinMs?: number): Promise<string>;
  /** Resolves with everything when the other side has closed. */
  closed(withinMs?: number): Promise<string>;
  readonly socket: net.Socket;
}

export async function connectRaw(daemon: Daemon, { plain = false } = {}): Promise<RawClient> {
  const socket = plain
    ? net.connect({ port: daemon.ports.http, host: '127.0.0.1' })
    : tls.connect({ port: daemon.ports.https, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
  let text = '';
  let ended = false;
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => {});
  socket.on('end', () => (ended = true));
  socket.on('close', () => (ended = true));
  await once(socket, plain ? 'connect' : 'secureConnect');
  return {
    socket,
    send: (bytes) => void socket.write(bytes, 'latin1'),
    received: () => text,
    until: async (pattern, withinMs = 5_000) => {
      await eventually(() => pattern.test(text), { withinMs }).catch(() => {
        throw new Error(`never received ${String(pattern)}, but: ${JSON.stringify(text)}`);
      });
      return text;
    },
    closed: async (withinMs = 5_000) => {
      await eventually(() => ended, { withinMs }).catch(() => {
        throw new Error(`not closed within ${withinMs} ms; received: ${JSON.stringify(text)}`);
      });
      return text;
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
