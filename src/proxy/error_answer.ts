/** What a client is told when no worker answers it: plain and small, or the operator's own page. */
import { reasonPhrase } from './failure.ts';
import type { Failure } from './failure.ts';
import type { ErrorPages } from '../snapshot.ts';

export interface ErrorAnswer {
  /** Field lines, each with its CRLF. */
  readonly fields: string;
  readonly body: string;
}

export interface ErrorAnswerInput {
  readonly status: number;
  readonly failure: Failure;
  /** For a person; may be empty. */
  readonly reason: string;
  readonly requestId: string;
  /** Whoever asked why, and may know: gets the failure in a field. */
  readonly tellsFailure: boolean;
  /** In order of authority. */
  readonly pages: readonly ErrorPages[];
}

export function errorAnswer({
  status,
  failure,
  reason,
  requestId,
  tellsFailure,
  pages,
}: ErrorAnswerInput): ErrorAnswer {
  const page = pageOf(status, pages);
  const retry = status === 503 ? 'Retry-After: 5\r\n' : '';
  const why = tellsFailure ? `X-Proxy-Reason: ${failure}\r\n` : '';
  return {
    fields: `Content-Type: ${page?.type ?? 'text/plain'}\r\n${retry}${why}`,
    body:
      page === null
        ? `${status} ${reasonPhrase(status)}\n${reason === '' ? '' : `${reason}\n`}request ${requestId}\n`
        : page.body.replaceAll('{status}', String(status)).replaceAll('{request_id}', requestId),
  };
}

function pageOf(status: number, pages: readonly ErrorPages[]): ErrorPages[string] | null {
  const kind = `${Math.floor(status / 100)}xx`;
  for (const of of pages) {
    const page = of[String(status)] ?? of[kind];
    if (page !== undefined) return page;
  }
  return null;
}
