/**
 * One request on its way to a worker and its answer on the way back. It chooses the worker, applies the retry rule and
 * keeps both directions' backpressure; what the client speaks is the client's affair.
 */
import type { Clock } from './clock.ts';
import type { Failure } from './failure.ts';
import type { ResponseHead } from './http1/response_head.ts';
import { UpstreamConnection } from './upstream/connection.ts';
import type { UpstreamListener } from './upstream/connection.ts';
import { mayRetry } from './upstream/retry.ts';
import type { Service, Target } from './upstream/service.ts';

/** The side of the client, whatever protocol it speaks. */
export interface ExchangeClient {
  /** The final response's head. */
  onResponseHead(head: ResponseHead): void;
  /** Returns false when the client cannot take more for now; `exchange.resumeResponse()` goes on. */
  onResponseData(chunk: Buffer): boolean;
  onResponseEnd(): void;
  /** A good moment to write out what was handed over. */
  onResponseBatch(): void;
  /** The worker is connected, or can take more of the request's body. */
  onRequestWritable(): void;
  /** No answer will come, or (`upstream_cut`) the one that began is incomplete. */
  onExchangeFailure(failure: Failure, error?: Error): void;
}

export interface ExchangeContext {
  readonly clock: Clock;
  /** The target has no request of this proxy any more. */
  released(target: Target): void;
  /** The target refused a connection or did not take one in time. */
  targetFailed(target: Target): void;
}

const LAST_CHUNK = '0\r\n\r\n';

export class Exchange implements UpstreamListener {
  method = '';
  attempts = 0;
  /** The id of the last target asked. */
  worker: string | null = null;
  target: Target | null = null;
  readonly #client: ExchangeClient;
  readonly #context: ExchangeContext;
  #service: Service | null = null;
  #head = '';
  #framing: 'none' | 'length' | 'chunked' = 'none';
  #tried: Target[] = [];
  #sentAttempts = 0;
  #connection: UpstreamConnection | null = null;
  #connected = false;
  #answered = false;
  #requestEnded = false;
  /** The first bytes of the body, held until there is a connection. */
  #held: Buffer[] = [];

  constructor(client: ExchangeClient, context: ExchangeContext) {
    this.#client = client;
    this.#context = context;
  }

  get active(): boolean {
    return this.#service !== null;
  }

  /** Begins a request whose head for the worker is `head`; its body follows by `writeBody` and `endBody`. */
  begin(service: Service, method: string, head: string, framing: 'none' | 'length' | 'chunked'): void {
    this.#service = service;
    this.method = method;
    this.#head = head;
    this.#framing = framing;
    this.#requestEnded = framing === 'none';
    this.#answered = false;
    this.attempts = 0;
    this.worker = null;
    this.#sentAttempts = 0;
    if (this.#tried.length > 0) this.#tried = [];
    this.#tryNext(null);
  }

  /** Returns false when no more should be handed over before `onRequestWritable`. */
  writeBody(chunk: Buffer): boolean {
    if (!this.#connected || this.#connection === null) {
      this.#held.push(chunk);
      return false;
    }
    return this.#writeChunk(this.#connection, chunk);
  }

  endBody(): void {
    this.#requestEnded = true;
    if (this.#connected && this.#connection !== null) this.#finishRequest(this.#connection);
  }

  /** Whether the worker has been given the whole request. */
  get requestEnded(): boolean {
    return this.#requestEnded;
  }

  pauseResponse(): void {
    this.#connection?.socket.pause();
  }

  resumeResponse(): void {
    this.#connection?.socket.resume();
  }

  /** The client is gone, or will not have the rest: the worker's connection is closed, so it learns of it too. */
  cancel(): void {
    this.#connection?.destroy();
    this.#end();
  }

  onConnected(): void {
    this.#sendHead();
  }

  onHead(head: ResponseHead): void {
    this.#answered = true;
    this.#client.onResponseHead(head);
  }

  onData(chunk: Buffer): void {
    if (!this.#client.onResponseData(chunk)) this.#connection?.socket.pause();
  }

  onEnd(): void {
    this.#end();
    this.#client.onResponseEnd();
  }

  onBatchEnd(): void {
    this.#client.onResponseBatch();
  }

  onDrain(): void {
    this.#client.onRequestWritable();
  }

  onFailure(failure: Failure, error?: Error): void {
    const { target } = this;
    const sent = this.#connected;
    this.#detach();
    if (target !== null && !sent) this.#context.targetFailed(target);
    const retry =
      this.#service !== null &&
      failure !== 'upstream_timeout' &&
      failure !== 'upstream_invalid' &&
      mayRetry({
        sent,
        answered: this.#answered,
        method: this.method,
        hasBody: this.#framing !== 'none',
        attempts: this.attempts,
        sentAttempts: this.#sentAttempts,
        retries: this.#service.entry.retries,
      });
    if (retry) return this.#tryNext({ failure, error });
    this.#end();
    this.#client.onExchangeFailure(failure, error);
  }

  #tryNext(previous: { readonly failure: Failure; readonly error: Error | undefined } | null): void {
    const service = this.#service;
    if (service === null) return;
    const target = service.pick(this.#tried);
    if (target === null) {
      this.#end();
      return this.#client.onExchangeFailure(previous?.failure ?? 'no_worker', previous?.error);
    }
    this.#tried.push(target);
    this.attempts++;
    this.target = target;
    this.worker = target.id;
    target.inFlight++;
    const connection = takeIdle(target, this.#context.clock.now() - service.entry.idleTimeoutMs);
    if (connection !== null) {
      this.#connection = connection;
      connection.attach(this);
      this.#sendHead();
    } else {
      this.#connection = new UpstreamConnection(target, this, this.#context.clock, service.entry);
    }
  }

  #sendHead(): void {
    const connection = this.#connection;
    if (connection === null) return;
    this.#connected = true;
    this.#sentAttempts++;
    if (this.#framing === 'none') {
      connection.socket.write(this.#head, 'latin1');
      connection.requestWritten();
      return;
    }
    connection.socket.cork();
    connection.socket.write(this.#head, 'latin1');
    for (const chunk of this.#held) this.#writeChunk(connection, chunk);
    this.#held = [];
    if (this.#requestEnded) this.#finishRequest(connection);
    connection.socket.uncork();
    if (!this.#requestEnded) this.#client.onRequestWritable();
  }

  #writeChunk(connection: UpstreamConnection, chunk: Buffer): boolean {
    const { socket } = connection;
    if (this.#framing === 'length') return socket.write(chunk);
    socket.cork();
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
    socket.write(chunk);
    const more = socket.write('\r\n', 'latin1');
    socket.uncork();
    return more;
  }

  #finishRequest(connection: UpstreamConnection): void {
    if (this.#framing === 'chunked') connection.socket.write(LAST_CHUNK, 'latin1');
    connection.requestWritten();
  }

  #detach(): void {
    const { target } = this;
    this.#connection = null;
    this.#connected = false;
    if (target === null) return;
    this.target = null;
    target.inFlight--;
    if (target.removed && target.inFlight === 0) this.#context.released(target);
  }

  #end(): void {
    this.#detach();
    this.#service = null;
    if (this.#held.length > 0) this.#held = [];
  }
}

/** The most recently used idle connection not idle since before `oldest`; those older are closed. */
function takeIdle(target: Target, oldest: number): UpstreamConnection | null {
  const connection = target.idle.pop();
  if (connection === undefined) return null;
  if (connection.idleSince >= oldest) return connection;
  // The stack is ordered by time: all below are older still.
  connection.destroy();
  target.closeIdle();
  return null;
}
