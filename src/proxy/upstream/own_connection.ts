/**
 * A connection to a worker that is opened to be given away: what changes its protocol there never comes back, so it
 * neither takes an idle one nor leaves one.
 */
import net from 'node:net';
import tls from 'node:tls';
import type { Clock, Swept } from '../clock.ts';
import type { Failure } from '../failure.ts';
import type { Address } from '../../snapshot.ts';
import type { Channel, ChannelListener } from './channel.ts';

export interface OwnConnectionOptions {
  readonly address: Address;
  /** How an upstream of https is spoken to, its address included. */
  readonly secure: tls.ConnectionOptions | null;
  readonly connectTimeoutMs: number;
}

/** Of a channel's duties it has that of connecting; the request is written by who takes the socket. */
export class OwnConnection implements Channel, Swept {
  readonly sent = false;
  readonly reused = false;
  readonly #socket: net.Socket;
  readonly #clock: Clock;
  readonly #deadline: number;
  #listener: ChannelListener | null;
  readonly #onReady = (): void => this.#listener?.onConnected();
  readonly #onError = (error: Error): void => this.#fail('connect_failed', error);
  readonly #onClose = (): void => this.#fail('connect_failed');

  constructor(listener: ChannelListener, clock: Clock, { address, secure, connectTimeoutMs }: OwnConnectionOptions) {
    this.#listener = listener;
    this.#clock = clock;
    this.#deadline = clock.now() + connectTimeoutMs;
    this.#socket = secure === null ? net.connect({ ...address, autoSelectFamily: false }) : tls.connect(secure);
    this.#socket.once(secure === null ? 'connect' : 'secureConnect', this.#onReady);
    this.#socket.on('error', this.#onError).on('close', this.#onClose);
    clock.add(this);
  }

  /** The connected socket, without a listener of ours. */
  release(): net.Socket {
    this.#end();
    return this.#socket.off('error', this.#onError).off('close', this.#onClose);
  }

  destroy(): void {
    this.#end();
    this.#socket.destroy();
  }

  sweep(now: number): void {
    if (now >= this.#deadline) this.#fail('connect_timeout');
  }

  start(): void {
    throw new Error('a connection that is given away sends nothing itself');
  }

  writeBody(): boolean {
    return true;
  }

  endBody(): void {}

  pause(): void {}

  resume(): void {}

  #fail(failure: Failure, error?: Error): void {
    const listener = this.#listener;
    this.destroy();
    listener?.onFailure(failure, error);
  }

  #end(): void {
    this.#listener = null;
    this.#clock.delete(this);
  }
}
