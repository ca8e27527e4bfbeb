/**
 * One request on its way to a worker and its answer on the way back. It chooses the worker, waits for one when none is
 * ready, applies the retry rule and keeps both directions' backpressure; what the client speaks is the client's affair.
 */
import type net from 'node:net';
import type { Clock } from './clock.ts';
import type { Failure } from './failure.ts';
import type { ResponseHead } from './http1/response_head.ts';
import type { Channel, ChannelListener } from './upstream/channel.ts';
import { UpstreamConnection } from './upstream/connection.ts';
import { OwnConnection } from './upstream/own_connection.ts';
import type { UpstreamRequest } from './upstream/request.ts';
import { mayRetry } from './upstream/retry.ts';
import type { Held, Service, Stream, Target } from './upstream/service.ts';
import type { Unanswered } from './upstream/unanswered.ts';

/** The side of the client, whatever protocol it speaks. */
export interface ExchangeClient {
  /** The final response's head. */
  onResponseHead(head: ResponseHead): void;
  /** `chunk` is lent until `onResponseBatch` or `onResponseEnd`, which follow before it is overwritten. */
  onResponseData(chunk: Buffer): void;
  /** `trailers` are field lines, each with its CRLF. */
  onResponseEnd(trailers: string): void;
  /** What was handed over is to be written out now. */
  onResponseBatch(): void;
  /** The worker is connected, or can take more of the request's body. */
  onRequestWritable(): void;
  /** The request asks for another protocol: here is the worker it goes to, to be carried on without this exchange. */
  onConnection(socket: net.Socket, service: Service): void;
  /** Its worker leaves: what was carried on without this exchange is to end. */
  onStreamEnd(): void;
  /** The worker that was asked went away; another may be asked now. */
  onWorkerLost(target: string): void;
  /** No answer will come, or (`upstream_cut`) the one that began is incomplete. */
  onExchangeFailure(failure: Failure, error?: Error): void;
}

export interface ExchangeContext {
  readonly clock: Clock;
  /** The target has no request of this proxy any more. */
  released(target: Target): void;
  /** A stream began at a target that had left. */
  streamAtRemoved(target: Target): void;
  /** The target refused a connection or did not take one in time. */
  targetFailed(target: Target): void;
}

interface LastFailure {
  readonly failure: Failure;
  readonly error: Error | undefined;
  readonly sent: boolean;
  readonly worker: string;
  /** The target, when only its idle connection was lost: it may be asked again. */
  readonly again: Target | null;
}

/** As much of a request's body is kept, so that it can be sent to a worker again. */
const MAX_KEPT_BODY = 64 * 1024;

export class Exchange implements ChannelListener, Held, Stream, Unanswered {
  attempts = 0;
  /** The id of the last target asked. */
  worker: string | null = null;
  /** The last was asked over a connection that had been used before. */
  reused = false;
  /** How long it waited for a target. */
  queuedMs = 0;
  askedAt = 0;
  /** When the last one was given it. */
  sentAt = 0;
  older: Unanswered | null = null;
  newer: Unanswered | null = null;
  /** It is in its target's list of those without an answer. */
  #unanswered = false;
  /** It is among its target's streams. */
  #streaming = false;
  /** The answer has no length, so that it may end anywhere. */
  #endsAnywhere = false;
  readonly #client: ExchangeClient;
  readonly #context: ExchangeContext;
  #service: Service | null = null;
  #request: UpstreamRequest | null = null;
  #target: Target | null = null;
  #tried: Target[] = [];
  #sentAttempts = 0;
  #channel: Channel | null = null;
  #started = false;
  #answered = false;
  #requestEnded = false;
  /** What binds the request to a worker, for policies that do. */
  #affinity: string | null = null;
  /** The body so far, as long as all of it is small enough to be sent again. */
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #replayable = true;
  /** Why the last target did not do, while another is waited for. */
  #lastFailure: LastFailure | null = null;
  /** Since when it waits for a target; 0: it does not. */
  #queuedSince = 0;

  constructor(client: ExchangeClient, context: ExchangeContext) {
    this.#client = client;
    this.#context = context;
  }

  get active(): boolean {
    return this.#service !== null;
  }

  /** Why it was asked again, if it was, and who had been asked before. */
  get retryCause(): Failure | null {
    return this.#lastFailure?.failure ?? null;
  }

  get retryWorker(): string | null {
    return this.#lastFailure?.worker ?? null;
  }

  get method(): string {
    return this.#request?.method ?? '';
  }

  /** Field lines of ours for the client's answer: what makes it come back to the same worker. */
  affinityFields(secure: boolean): string {
    const service = this.#service;
    if (service === null || this.#target === null || service.entry.stickyCookie === null) return '';
    return service.affinity.fieldsFor(service.entry, this.#affinity, this.#target.entry, secure);
  }

  /** `affinity` is what `service.affinity` said of the request; its body follows by `writeBody` and `endBody`. */
  begin(service: Service, request: UpstreamRequest, complete: boolean, affinity: string | null): void {
    this.#service = service;
    this.#request = request;
    this.#requestEnded = complete;
    this.#affinity = affinity;
    this.#answered = false;
    this.attempts = 0;
    this.worker = null;
    this.reused = false;
    this.queuedMs = 0;
    this.#sentAttempts = 0;
    this.#replayable = true;
    this.#lastFailure = null;
    this.#tried.length = 0;
    this.#tryNext();
  }

  /** Returns false when no more should be handed over before `onRequestWritable`. */
  writeBody(chunk: Buffer): boolean {
    const channel = this.#started ? this.#channel : null;
    if (channel === null || (this.#replayable && this.#keptBytes + chunk.length <= MAX_KEPT_BODY)) {
      this.#kept.push(Buffer.from(chunk));
      this.#keptBytes += chunk.length;
    } else {
      this.#forgetBody();
    }
    return channel === null ? this.#keptBytes < MAX_KEPT_BODY : channel.writeBody(chunk);
  }

  endBody(): void {
    this.#requestEnded = true;
    if (!this.#started) return;
    this.#awaitAnswer();
    this.#channel?.endBody(this.#request?.trailers ?? '');
  }

  pauseResponse(): void {
    this.#channel?.pause();
  }

  resumeResponse(): void {
    this.#channel?.resume();
  }

  /** The client is gone, or will not have the rest: the worker's connection is closed, so it learns of it too. */
  cancel(): void {
    this.#service?.unhold(this);
    this.#channel?.destroy();
    this.#end();
  }

  /** What was carried on without it has an answer: that it is another protocol's from now on, or not. */
  tunnelAnswered(switched: boolean): void {
    this.#answerBegan(switched);
  }

  endStream(): void {
    const channel = this.#channel;
    if (channel === null) return this.#client.onStreamEnd();
    channel.destroy();
    if (this.#endsAnywhere) this.onEnd('');
    else this.#fail('upstream_cut');
  }

  /** What was carried on without it has ended. */
  finish(): void {
    this.#end();
  }

  onConnected(): void {
    this.#send(this.#context.clock.now());
  }

  onHead(head: ResponseHead): void {
    this.#answered = true;
    if (this.#keptBytes > 0) this.#forgetBody();
    this.#target?.succeeded();
    this.#endsAnywhere = head.bodyKind === 'chunked' || head.bodyKind === 'close';
    this.#answerBegan(head.eventStream);
    this.#client.onResponseHead(head);
  }

  onData(chunk: Buffer): void {
    if (this.#target !== null) this.#target.heardAt = this.#context.clock.recent;
    this.#client.onResponseData(chunk);
  }

  onEnd(trailers: string): void {
    this.#end();
    this.#client.onResponseEnd(trailers);
  }

  onBatchEnd(): void {
    this.#client.onResponseBatch();
  }

  onDrain(): void {
    this.#client.onRequestWritable();
  }

  onFailure(failure: Failure, error?: Error): void {
    const target = this.#target;
    const service = this.#service;
    const sent = this.#channel?.sent ?? false;
    // A worker may close an idle connection at any time: that says nothing of its health.
    const blameless = failure === 'upstream_closed' && (this.#channel?.reused ?? false);
    const waitedMs = this.#unanswered ? this.#context.clock.now() - this.askedAt : 0;
    this.#detach();
    if (target !== null && service !== null && !blameless) {
      service.targetFailed(target);
      if (!sent) this.#context.targetFailed(target);
    }
    const lost = failure === 'upstream_closed' || failure === 'upstream_cut';
    if (lost && sent && target !== null) this.#client.onWorkerLost(target.id);
    const retry =
      service !== null &&
      mayRetry({
        failure,
        sent,
        answered: this.#answered,
        method: this.method,
        replayable: this.#replayable,
        attempts: this.attempts,
        sentAttempts: this.#sentAttempts,
        retries: service.entry.retries,
        waitedMs,
        livenessMs: service.entry.livenessMs,
      });
    if (!retry) return this.#fail(failure, error);
    service.retried();
    // Whoever is bound to this worker stays with it.
    if (blameless && this.#affinity !== null) this.#tried.pop();
    this.#lastFailure = { failure, error, sent, worker: target?.id ?? '', again: blameless ? target : null };
    this.#tryNext();
  }

  onTargets(): void {
    // A target that was put out meanwhile is a new one when it comes back.
    this.#tried = this.#tried.filter(({ entry }) => entry.healthy);
    this.#tryNext();
  }

  onHoldEnd(): void {
    this.#fail(this.#service?.isBusy === true ? 'busy' : 'no_worker');
  }

  #tryNext(): void {
    const service = this.#service;
    if (service === null) return;
    const last = this.#lastFailure;
    const upgrade = this.#request !== null && this.#request.upgrade !== '';
    const isTaken = service.isTakenBefore(this);
    let target = isTaken ? null : this.#pick(service, upgrade);
    // With nobody else to ask, the same gets it over a fresh connection.
    if (target === null && last !== null && last.again?.removed === false && !isTaken && service.hasRoom(last.again)) {
      target = last.again;
    }
    if (target === null) {
      const busy = isTaken || service.isBusy;
      if (upgrade && !busy && this.#tried.some(({ isShared }) => isShared)) {
        return this.#fail(last?.failure ?? 'no_upgrade', last?.error);
      }
      // One that took the request and gave no answer may do so again: its client hears of it now.
      if ((busy || last?.sent !== true) && service.hold(this)) {
        if (this.#queuedSince === 0) this.#queuedSince = this.#context.clock.now();
        return;
      }
      if (last === null) service.shed();
      return this.#fail(last?.failure ?? (busy ? 'busy' : 'no_worker'), last?.error);
    }
    service.unhold(this);
    this.#queueLeft();
    this.#tried.push(target);
    this.attempts++;
    this.#target = target;
    this.worker = target.id;
    target.inFlight++;
    // What idled may just be closing: the second and last try must not meet that too. What changes its protocol never
    // comes back, so it gets a connection of its own.
    const fresh = upgrade || this.#sentAttempts > 0;
    const { clock } = this.#context;
    const now = clock.now();
    const idle = fresh ? null : target.takeIdle(now);
    this.reused = idle !== null;
    if (idle !== null) {
      idle.attach(this);
      this.#channel = idle;
      this.#send(now);
    } else if (upgrade) {
      this.#channel = target.ownConnection(this, clock, service.entry);
    } else if (target.entry.protocol === 'http') {
      this.#channel = new UpstreamConnection(target, this, clock, service.entry);
    } else {
      const channel = target.foreignChannel(this, clock, service.entry);
      this.reused = channel.reused;
      this.#channel = channel;
      this.#send(now);
    }
  }

  #queueLeft(): void {
    if (this.#queuedSince === 0) return;
    this.queuedMs += this.#context.clock.now() - this.#queuedSince;
    this.#queuedSince = 0;
  }

  #pick(service: Service, upgrade: boolean): Target | null {
    if (!upgrade) return service.pick(this.#tried, this.#affinity);
    for (;;) {
      const target = service.pick(this.#tried, this.#affinity);
      if (target === null || !target.isShared) return target;
      this.#tried.push(target);
    }
  }

  #send(now: number): void {
    const channel = this.#channel;
    const request = this.#request;
    if (channel === null || request === null) return;
    this.#started = true;
    this.sentAt = now;
    this.#sentAttempts++;
    if (this.#target !== null) this.#target.requests++;
    if (this.#requestEnded) this.#awaitAnswer();
    const service = this.#service;
    if (request.upgrade !== '' && service !== null && channel instanceof OwnConnection) {
      this.#channel = null;
      return this.#client.onConnection(channel.release(), service);
    }
    channel.start(request, this.#kept, this.#requestEnded);
    if (!this.#requestEnded) this.#client.onRequestWritable();
  }

  /** The worker has all of it: from now on it owes an answer. */
  #awaitAnswer(): void {
    if (this.#unanswered || this.#answered || this.#target === null) return;
    this.#unanswered = true;
    this.#target.unanswered.add(this, this.#context.clock.recent);
  }

  #answerBegan(isStream: boolean): void {
    const target = this.#target;
    if (target === null) return;
    target.answers++;
    target.heardAt = this.#context.clock.recent;
    this.#answerIsNoLongerOwed(target);
    if (!isStream) return;
    this.#streaming = true;
    target.streams.add(this);
    if (target.removed) this.#context.streamAtRemoved(target);
  }

  #answerIsNoLongerOwed(target: Target): void {
    if (!this.#unanswered) return;
    this.#unanswered = false;
    target.unanswered.remove(this);
  }

  #forgetBody(): void {
    this.#replayable = false;
    this.#kept = [];
    this.#keptBytes = 0;
  }

  #detach(): void {
    const target = this.#target;
    this.#channel = null;
    this.#started = false;
    if (target === null) return;
    this.#target = null;
    this.#answerIsNoLongerOwed(target);
    if (this.#streaming) {
      this.#streaming = false;
      target.streams.delete(this);
    }
    target.inFlight--;
    this.#service?.freed();
    if (target.removed && target.inFlight === 0) this.#context.released(target);
  }

  #end(): void {
    this.#detach();
    this.#queueLeft();
    this.#service = null;
    this.#request = null;
    if (this.#keptBytes > 0) this.#forgetBody();
  }

  #fail(failure: Failure, error?: Error): void {
    this.#end();
    this.#client.onExchangeFailure(failure, error);
  }
}
