/** An upstream that keeps every byte it received and answers with exactly the bytes it is told to. */
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { readMessage } from './strict_reader.ts';
import type { Message } from './strict_reader.ts';

export interface Received {
  /** Its place among all messages of this upstream; the default answer says it as `X-Seq`. */
  readonly seq: number;
  readonly connection: RawConnection;
  readonly message: Message;
}

export interface RawConnection {
  readonly socket: net.Socket;
  /** What came after the last complete message. */
  rest: string;
  /** Why reading stopped for good. */
  problem: { readonly problem: 'INVALID' | 'AMBIG'; readonly why: string } | null;
  /** Something came before the answer to what came before it was sent. */
  pipelined: boolean;
  closed: boolean;
}

/** Sends an answer to `received`. It is asked again only when its promise is fulfilled. */
export type Answerer = (received: Received) => void | Promise<void>;

export interface RawUpstream extends AsyncDisposable {
  readonly port: number;
  readonly received: readonly Received[];
  readonly connections: readonly RawConnection[];
}

/** What health checks ask is answered and left out. */
const PROBE = /\r\nuser-agent: proxy-health-check\//i;

export function answerOk({ connection, message, seq }: Received): void {
  const body = message.method === 'HEAD' ? '' : 'ok';
  connection.socket.write(`HTTP/1.1 200 OK\r\nX-Seq: ${seq}\r\nContent-Length: 2\r\n\r\n${body}`, 'latin1');
}

/** Is asked whenever bytes came that are no whole message yet, and may answer before it is one. */
export type EarlyAnswerer = (connection: RawConnection) => void;

export async function startRawUpstream(answer: Answerer = answerOk, early?: EarlyAnswerer): Promise<RawUpstream> {
  const received: Received[] = [];
  const connections: RawConnection[] = [];

  const readOn = async (connection: RawConnection): Promise<void> => {
    const { socket } = connection;
    for (;;) {
      const reading = readMessage(connection.rest);
      if (reading.kind === 'incomplete') return early?.(connection);
      if (reading.kind === 'problem') {
        connection.problem = reading;
        socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      const { message } = reading;
      connection.rest = connection.rest.slice(message.raw.length);
      if (PROBE.test(message.raw)) {
        connections.splice(connections.indexOf(connection), 1);
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
        return;
      }
      const one: Received = { seq: received.length, connection, message };
      received.push(one);
      await answer(one);
      if (connection.rest !== '') connection.pipelined = true;
    }
  };

  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    const connection: RawConnection = { socket, rest: '', problem: null, pipelined: false, closed: false };
    connections.push(connection);
    sockets.add(socket);
    let busy = false;
    socket.on('error', () => {});
    socket.on('close', () => {
      connection.closed = true;
      sockets.delete(socket);
    });
    socket.on('data', (chunk: Buffer) => {
      connection.rest += chunk.toString('latin1');
      if (busy || connection.problem !== null) return;
      busy = true;
      void readOn(connection).finally(() => (busy = false));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received,
    connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
