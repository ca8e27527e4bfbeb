/** What every client connection of a process works with: the current parts, made ready for use, and the counters. */
import type { AddressSet } from '../address_set.ts';
import type { AccessLog } from './access_log.ts';
import type { Challenges } from './challenges.ts';
import type { ExchangeContext } from './exchange.ts';
import type { UnsentBudget } from './http2/unsent_budget.ts';
import type { LostRequests } from './lost_requests.ts';
import type { RequestCounter } from './request_counter.ts';
import type { Router } from './router.ts';
import type { Traceparents } from './trace_context.ts';
import type { Tracing } from './tracing.ts';
import type { Service } from './upstream/service.ts';
import type { EntrypointEntry, ErrorPages } from '../snapshot.ts';

export interface Front extends ExchangeContext {
  readonly router: Router;
  readonly challenges: Challenges;
  readonly services: ReadonlyMap<string, Service>;
  /** Who may say whom they speak for. */
  readonly isTrusted: AddressSet;
  /** Whether workers get `Forwarded` (RFC 7239) too. */
  readonly writesForwarded: boolean;
  /** Whether clients get `X-Request-Id`. */
  readonly tellsRequestId: boolean;
  /** For whom no site has one. */
  readonly errorPages: ErrorPages;
  /** null: no access log is wanted. */
  readonly accessLog: AccessLog | null;
  /** What clients of HTTP/2 do not take. */
  readonly unsent: UnsentBudget;
  readonly draining: boolean;
  /** Where it is told what becomes of requests whose worker went away. */
  readonly lost: LostRequests;
  nextRequestId(): string;
  readonly traceparents: Traceparents;
  /** null: spans are nobody's. */
  readonly tracing: Tracing | null;
  readonly counter: RequestCounter;
  requests: number;
  inFlight: number;
}

/** One entrypoint, its limits always the current ones. */
export interface Entry {
  readonly name: string;
  limits: EntrypointEntry;
}
