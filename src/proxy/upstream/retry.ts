/**
 * When a request may go to another worker. Pure, so that the one rule can be read and tested in one place.
 *
 * RFC 9110 section 9.2.2: only idempotent methods may be repeated when it is unknown whether the first try was processed.
 */
import type { Failure } from '../failure.ts';

export interface RetryInput {
  readonly failure: Failure;
  /** Bytes of the request reached a socket that was connected. */
  readonly sent: boolean;
  /** Any byte of a response arrived. */
  readonly answered: boolean;
  readonly method: string;
  /** There is no body, or all of it that was sent is still held. */
  readonly replayable: boolean;
  /** Tries made so far, this one included. */
  readonly attempts: number;
  /** Tries so far whose bytes were sent. */
  readonly sentAttempts: number;
  readonly retries: number;
  /** The worker owed the answer for so long, in milliseconds, and is taken to hang after `livenessMs`. */
  readonly waitedMs: number;
  readonly livenessMs: number;
}

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

export function mayRetry(input: RetryInput): boolean {
  if (input.answered || !input.replayable || input.attempts > input.retries) return false;
  // Nothing written: no worker can have seen it.
  if (!input.sent) return true;
  // After a timeout the worker may still be at it, and what it says wrongly it would say again.
  if (input.failure !== 'upstream_closed') return false;
  // A worker that hung was ended; what it hung at would be the next one's end.
  if (input.waitedMs >= input.livenessMs) return false;
  return input.sentAttempts <= 1 && IDEMPOTENT.has(input.method);
}
