/** One request to an upstream that wants TLS or HTTP/2, through undici. */
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock, Swept } from '../clock.ts';
import { serverNameOption } from '../../dispatcher.ts';
import type { Failure } from '../failure.ts';
import { ResponseHead } from '../http1/response_head.ts';
import type { Channel, ChannelListener, ChannelTimeouts } from './channel.ts';
import type { UpstreamRequest } from './request.ts';
import { readForeignHead, readForeignTrailers } from './undici_head.ts';

const BODY_HIGH_WATER = 64 * 1024;

export interface UndiciChannelOptions {
  readonly timeouts: ChannelTimeouts;
  readonly http2: boolean;
  readonly serverName: string;
  readonly reused: boolean;
}

export class UndiciChannel implements Channel, Swept, Dispatcher.DispatchHandler {
  sent = false;
  readonly reused: boolean;
  readonly #dispatcher: Dispatcher;
  readonly #serverName: { readonly servername?: string };
  readonly #clock: Clock;
  readonly #timeouts: ChannelTimeouts;
  /** Whether the answer may end with trailers. */
  readonly #http2: boolean;
  readonly #head = new ResponseHead();
  #listener: ChannelListener | null;
  #controller: Dispatcher.DispatchController | null = null;
  #body: Readable | null = null;
  #wantsMore = false;
  #answered = false;
  #idleMs = 0;
  #deadline = 0;

  constructor(dispatcher: Dispatcher, listener: ChannelListener, clock: Clock, options: UndiciChannelOptions) {
    this.#dispatcher = dispatcher;
    this.#listener = listener;
    this.#clock = clock;
    this.#timeouts = options.timeouts;
    this.#http2 = options.http2;
    this.reused = options.reused;
    this.#serverName = serverNameOption(options.serverName);
    clock.add(this);
  }

  start(request: UpstreamRequest, body: readonly Buffer[], ended: boolean): void {
    if (request.framing !== 'none' && !(ended && body.length === 0)) {
      this.#body = new Readable({ highWaterMark: BODY_HIGH_WATER, read: () => this.#onBodyWanted() });
      // Its end is told by the request's.
      this.#body.on('error', () => {});
      for (const chunk of body) this.#body.push(chunk);
    }
    if (ended) this.endBody();
    try {
      this.#dispatcher.dispatch(
        {
          path: request.target,
          method: request.method,
          headers: request.fieldList(this.#http2),
          body: this.#body,
          ...this.#serverName,
        },
        this,
      );
    } catch (error) {
      // What undici will not write, such as `OPTIONS *`. Later: the exchange is still in the middle of starting it.
      queueMicrotask(() => this.#fail('upstream_invalid', error instanceof Error ? error : new Error(String(error))));
    }
  }

  writeBody(chunk: Buffer): boolean {
    this.#wantsMore = this.#body?.push(Buffer.from(chunk)) ?? true;
    return this.#wantsMore;
  }

  endBody(): void {
    this.#body?.push(null);
    if (!this.#answered) this.#deadline = this.#clock.now() + this.#timeouts.responseTimeoutMs;
  }

  pause(): void {
    this.#controller?.pause();
    this.#deadline = 0;
  }

  resume(): void {
    this.#controller?.resume();
    this.#waitForData();
  }

  destroy(): void {
    const controller = this.#controller;
    this.#close();
    controller?.abort(new Error('the request was given up'));
    this.#body?.destroy();
  }

  sweep(now: number): void {
    if (this.#deadline === 0 || now < this.#deadline) return;
    const listener = this.#listener;
    this.destroy();
    listener?.onFailure(this.#answered ? 'upstream_cut' : 'upstream_timeout');
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.sent = true;
    if (this.#listener === null) controller.abort(new Error('the request was given up'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    const listener = this.#listener;
    // Interim answers are between the upstream and us (RFC 9110 section 15.2).
    if (listener === null || status < 200) return;
    const problem = readForeignHead(this.#head, status, headers, listener.method);
    if (problem !== null) return this.#giveUp('upstream_invalid', problem);
    this.#answered = true;
    // HTTP/2 announces none.
    if (this.#http2) this.#head.trailers = 'announced';
    this.#idleMs = this.#head.eventStream ? this.#timeouts.eventIdleMs : this.#timeouts.bodyIdleMs;
    this.#waitForData();
    listener.onHead(this.#head);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#waitForData();
    this.#listener?.onData(chunk);
    this.#listener?.onBatchEnd();
  }

  onResponseEnd(
    _controller: Dispatcher.DispatchController,
    trailers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    const listener = this.#listener;
    this.#close();
    // What is left of a body after the whole answer is of no use to anybody.
    this.#body?.destroy();
    listener?.onEnd(readForeignTrailers(trailers));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(this.#failureOf(error), error);
  }

  #failureOf(error: Error): Failure {
    const code = 'code' in error ? String(error.code) : '';
    if (!this.sent) return code === 'UND_ERR_CONNECT_TIMEOUT' ? 'connect_timeout' : 'connect_failed';
    if (this.#answered) return 'upstream_cut';
    return /^(?:HPE_|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES)/.test(code) ? 'upstream_invalid' : 'upstream_closed';
  }

  #onBodyWanted(): void {
    if (this.#wantsMore) return;
    this.#wantsMore = true;
    this.#listener?.onDrain();
  }

  #waitForData(): void {
    this.#deadline = this.#answered && this.#idleMs > 0 ? this.#clock.now() + this.#idleMs : this.#deadline;
  }

  #giveUp(failure: Failure, problem: string): void {
    const listener = this.#listener;
    this.destroy();
    listener?.onFailure(failure, new Error(problem));
  }

  #fail(failure: Failure, error: Error): void {
    const listener = this.#listener;
    this.#close();
    this.#body?.destroy();
    listener?.onFailure(failure, error);
  }

  #close(): void {
    this.#listener = null;
    this.#controller = null;
    this.#clock.delete(this);
  }
}
