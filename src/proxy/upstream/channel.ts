/** What an exchange needs of a way to a worker, whatever is spoken on it. */
import type { Failure } from '../failure.ts';
import type { ResponseHead } from '../http1/response_head.ts';
import type { UpstreamRequest } from './request.ts';

export interface Channel {
  /** A worker may have seen bytes of the request. */
  readonly sent: boolean;
  /** Another request went this way before, so that its loss may be the end of an idle time and no fault. */
  readonly reused: boolean;
  /** Writes a request's head and what there is of its body; `ended`: that is all of it. */
  start(request: UpstreamRequest, body: readonly Buffer[], ended: boolean): void;
  /** `chunk` is lent for the call. Returns false when no more should be written before `onDrain`. */
  writeBody(chunk: Buffer): boolean;
  /** `trailers` are field lines, each with its CRLF. */
  endBody(trailers: string): void;
  /** The client takes no more of the answer for now. */
  pause(): void;
  resume(): void;
  /** Gives the request up, so that the worker learns of it. */
  destroy(): void;
}

/** What an exchange hears. After `onFailure` or `onEnd` the channel is no longer its own. */
export interface ChannelListener {
  readonly method: string;
  onConnected(): void;
  onHead(head: ResponseHead): void;
  /** `chunk` is lent until `onBatchEnd` or `onEnd`, which follow before it is overwritten. */
  onData(chunk: Buffer): void;
  /** The response is complete; `trailers` are field lines, each with its CRLF. */
  onEnd(trailers: string): void;
  /** All that was read at once has been handed over, to be written out now. */
  onBatchEnd(): void;
  /** More may be written. */
  onDrain(): void;
  onFailure(failure: Failure, error?: Error): void;
}

export interface ChannelTimeouts {
  readonly connectTimeoutMs: number;
  /** Until the answer's head. */
  readonly responseTimeoutMs: number;
  /** Between pieces of an answer's body; a stream of events has its own. 0: for ever. */
  readonly bodyIdleMs: number;
  readonly eventIdleMs: number;
  /** Between requests. */
  readonly idleTimeoutMs: number;
}
