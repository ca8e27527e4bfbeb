/** Listeners of a socket that are put on and taken off together: a connection that can be given away. */
import type net from 'node:net';

export interface SocketListeners {
  readonly connect: () => void;
  readonly data: (chunk: Buffer) => void;
  readonly drain: () => void;
  readonly end: () => void;
  readonly error: (error: Error) => void;
  readonly close: () => void;
}

export function listen(socket: net.Socket, { connect, data, drain, end, error, close }: SocketListeners): void {
  socket
    .on('connect', connect)
    .on('data', data)
    .on('drain', drain)
    .on('end', end)
    .on('error', error)
    .on('close', close);
}

export function unlisten(socket: net.Socket, { connect, data, drain, end, error, close }: SocketListeners): void {
  socket.off('connect', connect).off('data', data).off('drain', drain).off('end', end);
  socket.off('error', error).off('close', close);
}
