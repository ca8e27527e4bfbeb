/**
 * One request of a client and its answer, whatever protocol it came by: routed, put through the site's policies, handed
 * to a worker, limited, counted and logged. A connection of HTTP/1.1 uses one again and again, a stream of HTTP/2 has its own.
 */
import type net from 'node:net';
import type { AccessRecord } from './access_lines.ts';
import { forwardedField, identify } from './client_identity.ts';
import type { ClientInfo } from './client_identity.ts';
import { Exchange } from './exchange.ts';
import type { ExchangeClient } from './exchange.ts';
import { errorAnswer } from './error_answer.ts';
import { statusOf } from './failure.ts';
import type { Failure } from './failure.ts';
import type { Front } from './front.ts';
import type { RequestHead } from './http1/request_head.ts';
import type { ResponseHead } from './http1/response_head.ts';
import type { TunnelOutcome } from './http1/tunnel.ts';
import { challengeAnswer } from './policies/acme_challenge.ts';
import { withoutFields } from './policies/headers.ts';
import type { Verdict } from './policies/policy.ts';
import { acceptedRequestId } from './request_ids.ts';
import type { SiteRoute } from './router.ts';
import { isLoopback } from '../address.ts';
import { UpstreamRequest } from './upstream/request.ts';
import type { Service } from './upstream/service.ts';

/** How a protocol carries the answer; after `onSettled` the transaction needs nothing more from it. */
export interface ClientStream {
  /** The worker's head; `fields` are its lines after the policies, without framing; an empty id is not said. */
  sendHead(head: ResponseHead, fields: string, requestId: string): void;
  /** `chunk` is lent until `flush` or `sendEnd`, which follow before it is overwritten. */
  sendData(chunk: Buffer): void;
  /** `trailers` are field lines, each with its CRLF; a client that did not ask for them may go without. */
  sendEnd(trailers: string): void;
  /** Writes out what was handed over. When the client cannot take more for now it calls `pauseResponse()`. */
  flush(): void;
  /** A whole answer of our own; `fields` are lines each with its CRLF. */
  sendAnswer(status: number, fields: string, body: string, requestId: string): void;
  sendContinue(): void;
  pauseRequest(): void;
  resumeRequest(): void;
  /** Carries the connection on as another protocol's, with `head` written to the worker first; null: it cannot. */
  readonly tunnel: ((upstream: net.Socket, head: string, responseMs: number) => void) | null;
  /** Ends what `tunnel` began; its outcome is told as usual. */
  endTunnel(): void;
  /** Nothing more can be said, and what was said must not look whole. */
  cut(): void;
  /** Everything is said. */
  onSettled(): void;
}

/** One for all: it is written at once. */
const record: AccessRecord = {
  client: '',
  route: '',
  remote: '',
  protocol: '',
  method: '',
  host: '',
  target: '',
  status: 0,
  durationMs: 0,
  firstByteMs: -1,
  queuedMs: 0,
  bytesIn: 0,
  bytesOut: 0,
  requestId: '',
  traceparent: '',
  worker: null,
  attempts: 0,
  reused: false,
  retryCause: null,
  retryWorker: null,
  userAgent: null,
  referer: null,
  failure: null,
  reason: '',
};

const REQUEST_ID = ['x-request-id'];

interface Loss {
  readonly target: string;
  readonly attempts: number;
}

export class Transaction implements ExchangeClient {
  readonly head: RequestHead;
  readonly exchange: Exchange;
  requestComplete = true;
  responseStarted = false;
  readonly #stream: ClientStream;
  readonly #front: Front;
  readonly #connection: ClientInfo;
  /** Of the present request. */
  #client: ClientInfo;
  readonly #upstream = new UpstreamRequest();
  #active = false;
  #route: SiteRoute | null = null;
  #maxBodySize = 0;
  /** Another for each request of this transaction. */
  #turn = 0;
  #requestId = '';
  #traceparent = '';
  // For the access log.
  #startedAt = 0;
  #firstByteAt = 0;
  #reason = '';
  #status = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #service: string | null = null;
  #worker: string | null = null;
  /** Workers that went away with it, and how many had been asked by then; nearly always null. */
  #lost: Loss[] | null = null;

  constructor(stream: ClientStream, front: Front, client: ClientInfo, head: RequestHead) {
    this.#stream = stream;
    this.#front = front;
    this.#connection = client;
    this.#client = client;
    this.head = head;
    this.exchange = new Exchange(this, front);
  }

  /** There is a request that is neither answered nor given up. */
  get active(): boolean {
    return this.#active;
  }

  /** Of the request's body so far. */
  get bytesIn(): number {
    return this.#bytesIn;
  }

  /** Of the answer's body so far. */
  get bytesOut(): number {
    return this.#bytesOut;
  }

  /** Begins with what `head` now says; `complete`: no body follows, not even an empty one. */
  begin(complete: boolean): void {
    this.#start();
    const { head } = this;
    this.requestComplete = complete;
    this.#traceparent = this.#traceOf(head.traceparent);
    if (this.#connection.trusted) {
      this.#client = identify(this.#connection, head, this.#front.isTrusted);
      this.#requestId = acceptedRequestId(head.requestId) ?? this.#requestId;
    }
    // Only in plain and before any site: RFC 8555 section 8.3 has the CA ask on port 80, whatever the site.
    if (this.#client.tls === null) {
      const answer = challengeAnswer(head, this.#front.challenges);
      if (!(answer instanceof Promise)) {
        if (answer !== null) return this.#conclude(answer);
      } else if (complete) {
        return this.#holdFor(answer);
      }
    }
    this.#dispatch();
  }

  /** Whose challenge it is takes a moment to find out: the client may be gone by then. */
  #holdFor(answer: Promise<Verdict | null>): void {
    const turn = this.#turn;
    void answer.then((verdict) => {
      if (!this.#active || this.#turn !== turn) return;
      if (verdict === null) this.#dispatch();
      else this.#conclude(verdict);
    });
  }

  #dispatch(): void {
    const { head } = this;
    const route = this.#front.router(head.host, head.path);
    if (route === null) return this.fail('not_found', 'no site has this host name');
    this.#route = route;
    if (!this.#client.servesHost(head.host)) {
      return this.fail('misdirected', "the connection's certificate is not for this host name");
    }
    for (const step of route.onRequest) {
      const verdict = step(head, this.#client);
      if (verdict !== null) return this.#conclude(verdict);
    }
    if (route.service === null) return this.fail('not_found', 'no route of this site has this path');
    this.#maxBodySize = route.site.maxBodySize;
    if (this.#maxBodySize > 0 && head.bodyKind === 'length' && head.contentLength > this.#maxBodySize) {
      return this.#tooLarge();
    }
    this.#forward(route, route.service);
  }

  /** A request that never became one: answered and logged like any other. */
  refuse(status: number, reason: string, failure: Failure, complete: boolean): void {
    this.#start();
    this.head.reset();
    this.requestComplete = complete;
    this.#answerFailure(status, reason, failure);
  }

  /** A piece of the request's body; false when the request is over and no more is wanted. */
  body(piece: Buffer): boolean {
    this.#bytesIn += piece.length;
    if (this.#maxBodySize > 0 && this.#bytesIn > this.#maxBodySize) {
      this.#tooLarge();
      return false;
    }
    if (this.exchange.active && !this.exchange.writeBody(piece)) this.#stream.pauseRequest();
    return true;
  }

  /** `trailers` are field lines behind the body, each with its CRLF. */
  bodyEnd(trailers = ''): void {
    this.requestComplete = true;
    this.#upstream.trailers = trailers;
    if (this.exchange.active) this.exchange.endBody();
  }

  pauseResponse(): void {
    if (this.exchange.active) this.exchange.pauseResponse();
  }

  resumeResponse(): void {
    if (this.exchange.active) this.exchange.resumeResponse();
  }

  /** Ends it for a reason on the client's side or ours. */
  fail(failure: Failure, reason: string): void {
    if (!this.#active) return;
    this.#cancelExchange();
    if (this.responseStarted) this.abandon(failure);
    else this.#answerFailure(statusOf(failure), reason, failure);
  }

  /** Ends it without a word: nobody is left to read one, or what was said cannot be completed. */
  abandon(failure: Failure): void {
    if (!this.#active) return;
    this.#cancelExchange();
    if (!this.responseStarted) this.#status = statusOf(failure);
    this.#settle(failure);
    this.#stream.cut();
  }

  onRequestWritable(): void {
    if (this.#active && !this.requestComplete) this.#stream.resumeRequest();
  }

  onResponseHead(head: ResponseHead): void {
    this.#worker = this.exchange.worker;
    this.responseStarted = true;
    this.#firstByteAt = this.#front.clock.now();
    this.#status = head.status;
    let fields = head.fields;
    for (const step of this.#route?.onResponse ?? []) fields = step(fields, this.#client);
    const told = this.#toldRequestId;
    if (told !== '' && head.namesRequest) fields = withoutFields(fields, REQUEST_ID);
    this.#stream.sendHead(head, fields + this.exchange.affinityFields(this.#client.scheme === 'https'), told);
  }

  onResponseData(chunk: Buffer): void {
    this.#bytesOut += chunk.length;
    this.#stream.sendData(chunk);
  }

  onResponseEnd(trailers: string): void {
    this.#stream.sendEnd(trailers);
    this.#settle(null);
    this.#stream.onSettled();
  }

  onResponseBatch(): void {
    this.#stream.flush();
  }

  onConnection(socket: net.Socket, service: Service): void {
    this.#worker = this.exchange.worker;
    this.responseStarted = true;
    this.#stream.tunnel?.(socket, this.#upstream.serialize(), service.entry.responseTimeoutMs);
  }

  onTunnelAnswer(switched: boolean): void {
    this.exchange.tunnelAnswered(switched);
  }

  onStreamEnd(): void {
    this.#stream.endTunnel();
  }

  /** What the tunnel came to, when it is over. */
  onTunnelEnd({ status, bytesIn, bytesOut, failure }: TunnelOutcome): void {
    this.#status = status;
    this.#bytesIn = bytesIn;
    this.#bytesOut = bytesOut;
    this.exchange.finish();
    this.#settle(failure);
  }

  onWorkerLost(target: string): void {
    (this.#lost ??= []).push({ target, attempts: this.exchange.attempts });
    this.#front.lost.begin(target);
  }

  onExchangeFailure(failure: Failure, error?: Error): void {
    this.#worker = this.exchange.worker;
    if (this.responseStarted) {
      this.#stream.flush();
      this.abandon('upstream_cut');
    } else {
      const said =
        failure === 'no_worker'
          ? this.#unavailable()
          : failure === 'busy'
            ? 'the app is busy'
            : failure === 'no_upgrade'
              ? 'an upstream of h2 or h2c has no connection that could change its protocol'
              : '';
      this.fail(failure, error === undefined ? said : 'the worker did not answer as HTTP asks');
    }
  }

  /** What the worker is told of it: with the sender's span as its parent, or with ours when we send one. */
  #traceOf(traceparent: string): string {
    const { tracing, traceparents } = this.#front;
    if (traceparent !== '') return tracing !== null ? traceparents.goOn(traceparent) : traceparent;
    // Without a recorder of ours as sampled: "not sampled" would switch off a worker's own, by what OpenTelemetry does by default.
    return traceparents.begin(tracing === null || Math.random() < tracing.sample);
  }

  /** What the client is told of it. */
  get #toldRequestId(): string {
    return this.#front.tellsRequestId ? this.#requestId : '';
  }

  #start(): void {
    const front = this.#front;
    front.requests++;
    front.inFlight++;
    this.#active = true;
    this.#turn++;
    this.#startedAt = front.clock.now();
    this.#firstByteAt = 0;
    this.#reason = '';
    this.#traceparent = '';
    this.#requestId = front.nextRequestId();
    this.#route = null;
    this.#maxBodySize = 0;
    this.#status = 0;
    this.#bytesIn = 0;
    this.#bytesOut = 0;
    this.#service = null;
    this.#worker = null;
    this.responseStarted = false;
  }

  #forward(route: SiteRoute, serviceName: string): void {
    const { head } = this;
    const service = this.#front.services.get(serviceName);
    this.#service = serviceName;
    if (service === undefined) return this.fail('no_worker', 'the service is not known here');
    const upstream = this.#upstream;
    upstream.method = head.method;
    upstream.target = head.target;
    upstream.host = head.authority;
    const client = this.#client;
    const host = client.forwardedHost ?? head.authority;
    upstream.fields = `${head.fields}${client.forwarded}X-Forwarded-Host: ${host}\r\nX-Request-Id: ${this.#requestId}\r\ntraceparent: ${this.#traceparent}\r\n`;
    if (head.tracestate !== '' && head.traceparent !== '') upstream.fields += `tracestate: ${head.tracestate}\r\n`;
    if (this.#front.writesForwarded) upstream.fields += forwardedField(client, head.authority);
    upstream.framing = head.bodyKind;
    upstream.contentLength = head.contentLength;
    upstream.acceptsTrailers = head.acceptsTrailers;
    upstream.trailers = '';
    upstream.upgrade =
      head.upgrade === '' || this.#stream.tunnel === null ? '' : (route.upgrades.get(head.upgrade) ?? '');
    for (const step of route.onForward) step(upstream, head);
    // RFC 9110 section 10.1.1: to take the body is our decision; the worker never sees the expectation.
    if (head.expectContinue && !this.requestComplete) this.#stream.sendContinue();
    const affinity = service.affinity.of(service.entry, head, this.#client.remote);
    this.exchange.begin(service, upstream, this.requestComplete, affinity);
  }

  #unavailable(): string {
    const service = this.#service === null ? undefined : this.#front.services.get(this.#service);
    return service?.entry.unavailable ?? 'no worker is ready';
  }

  #tooLarge(): void {
    this.fail('body_too_large', `the body is larger than ${this.#maxBodySize} bytes`);
  }

  #conclude(verdict: Verdict): void {
    if ('failure' in verdict) this.fail(verdict.failure, verdict.reason);
    else this.#answer(verdict.status, verdict.fields, verdict.body, null);
  }

  #answerFailure(status: number, reason: string, failure: Failure): void {
    this.#reason = reason;
    const { errorPages } = this.#front;
    const { fields, body } = errorAnswer({
      status,
      failure,
      reason,
      requestId: this.#requestId,
      tellsFailure: this.head.asksReason && this.#mayKnowMore(),
      pages: this.#route === null ? [errorPages] : [this.#route.site.errorPages, errorPages],
    });
    this.#answer(status, fields, body, failure);
  }

  /** Strangers come through trusted proxies, too: it is the client that counts. */
  #mayKnowMore(): boolean {
    const { remote } = this.#client;
    return isLoopback(remote) || this.#front.isTrusted(remote);
  }

  #answer(status: number, own: string, body: string, failure: Failure | null): void {
    this.#status = status;
    this.responseStarted = true;
    this.#bytesOut = Buffer.byteLength(body);
    let fields = `Date: ${new Date().toUTCString()}\r\n${own}`;
    for (const step of this.#route?.onResponse ?? []) fields = step(fields, this.#client);
    this.#stream.sendAnswer(status, fields, body, this.#toldRequestId);
    this.#settle(failure);
    this.#stream.onSettled();
  }

  #cancelExchange(): void {
    if (!this.exchange.active) return;
    this.#worker = this.exchange.worker;
    this.exchange.cancel();
  }

  #settle(failure: Failure | null): void {
    this.#active = false;
    const front = this.#front;
    front.inFlight--;
    const durationMs = front.clock.now() - this.#startedAt;
    const counts = this.#route?.counts ?? front.counter.strangers;
    const waitedMs = this.#firstByteAt === 0 ? -1 : this.#firstByteAt - this.exchange.sentAt;
    counts.add(this.#status, this.#client.protocol, durationMs, waitedMs, this.#bytesIn, this.#bytesOut);
    if (this.#lost !== null) this.#tellLost(this.#lost, failure);
    const { accessLog, tracing } = front;
    if (accessLog === null && tracing === null) return;
    const { head, exchange } = this;
    const asked = this.#service !== null;
    record.client = this.#client.logFields;
    record.route = this.#route?.logFields ?? '';
    record.remote = this.#client.remote;
    record.protocol = head.minor === 0 ? 'HTTP/1.0' : this.#client.protocol;
    record.method = head.method;
    record.host = head.authority;
    record.target = head.target;
    record.status = this.#status;
    record.durationMs = durationMs;
    record.firstByteMs = this.#firstByteAt === 0 ? -1 : this.#firstByteAt - this.#startedAt;
    record.queuedMs = asked ? exchange.queuedMs : 0;
    record.bytesIn = this.#bytesIn;
    record.bytesOut = this.#bytesOut;
    record.requestId = this.#requestId;
    record.traceparent = this.#traceparent;
    record.worker = this.#worker;
    record.attempts = asked ? exchange.attempts : 0;
    record.reused = exchange.reused;
    record.retryCause = asked && exchange.attempts > 1 ? exchange.retryCause : null;
    record.retryWorker = record.retryCause === null ? null : exchange.retryWorker;
    record.userAgent = head.userAgent;
    record.referer = head.referer;
    record.failure = failure;
    record.reason = this.#reason;
    accessLog?.write(record);
    tracing?.record(record, head.traceparent, this.#route);
  }

  #tellLost(lost: readonly Loss[], failure: Failure | null): void {
    this.#lost = null;
    for (const { target, attempts } of lost) {
      this.#front.lost.settle(target, {
        id: this.#requestId,
        retried: this.exchange.attempts > attempts,
        worker: this.#worker,
        status: this.#status,
        failure,
      });
    }
  }
}
