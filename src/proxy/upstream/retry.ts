/**
 * When a request may go to another worker. Pure, so that the one rule can be read and tested in one place.
 *
 * RFC 9110 section 9.2.2: only idempotent methods may be repeated when it is unknown whether the first try was processed.
 */
export interface RetryInput {
  /** Bytes of the request reached a socket that was connected. */
  readonly sent: boolean;
  /** Any byte of a response arrived. */
  readonly answered: boolean;
  readonly method: string;
  readonly hasBody: boolean;
  /** Tries made so far, this one included. */
  readonly attempts: number;
  /** Tries so far whose bytes were sent. */
  readonly sentAttempts: number;
  readonly retries: number;
}

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

export function mayRetry(input: RetryInput): boolean {
  if (input.answered || input.attempts > input.retries) return false;
  // Nothing written: no worker can have seen it.
  if (!input.sent) return true;
  return input.sentAttempts <= 1 && !input.hasBody && IDEMPOTENT.has(input.method);
}
