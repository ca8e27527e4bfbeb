/** When the CA wants a certificate to be renewed (RFC 9773): what it answers, and the instant we choose in its window. */
import { createHash } from 'node:crypto';
import { fieldsOf, parseRetryAfter } from './transport.ts';

const MINUTE = 60_000;
const HOUR = 3_600_000;
/** RFC 9773 section 4.3.2: between a minute and a day, whatever is asked. */
const POLL_MIN_MS = MINUTE;
const POLL_MAX_MS = 24 * HOUR;
/** Section 4.3.3: after what will not pass quickly, and without a word from the CA. */
const POLL_DEFAULT_MS = 6 * HOUR;
const RETRY_MS = [MINUTE, 10 * MINUTE, 100 * MINUTE];

export interface Window {
  /** Milliseconds since the epoch; the end is not in it. */
  readonly start: number;
  readonly end: number;
}

export interface RenewalInfo {
  /** null: the CA gave none that could be followed. */
  readonly window: Window | null;
  /** In the window; the past means now. null without one. */
  readonly selectedTime: number | null;
  /** Not to be asked before. */
  readonly nextPollAt: number;
  /** A page about why; shown to people. */
  readonly explanationUrl: string | null;
  /** Why there is no window. */
  readonly problem: string | null;
  /** Of the passing kind, in a row. */
  readonly failures: number;
}

export interface RenewalQuery {
  readonly certId: string;
  /** Of the certificate, in milliseconds since the epoch. */
  readonly notAfter: number;
  /** `failures` of the answer before; 0 at first. */
  readonly failures: number;
}

export function parseRenewalInfo(
  answer: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly data: unknown },
  { certId, notAfter, failures }: RenewalQuery,
  now: number,
): RenewalInfo {
  if (answer.status >= 500 || answer.status === 429) {
    return passing(`the CA answered ${answer.status}`, failures, answer.headers['retry-after'], now);
  }
  if (answer.status !== 200) return lasting(`the CA answered ${answer.status}`, now);
  const { suggestedWindow, explanationURL } = fieldsOf(answer.data);
  const { start, end } = fieldsOf(suggestedWindow);
  const window = { start: instantOf(start), end: instantOf(end) };
  if (Number.isNaN(window.start) || Number.isNaN(window.end)) return lasting('the answer has no window', now);
  if (window.end <= window.start) return lasting('the window ends before it begins', now);
  // By then the certificate would be of no use.
  if (window.end > notAfter) return lasting('the window ends after the certificate', now);
  const wish = parseRetryAfter(answer.headers['retry-after'], now);
  return {
    window,
    selectedTime: chooseInstant(window, certId),
    nextPollAt: wish === null ? now + POLL_DEFAULT_MS : clampPoll(wish, now),
    explanationUrl: typeof explanationURL === 'string' ? explanationURL : null,
    problem: null,
    failures: 0,
  };
}

/** Nobody answered. A name that does not resolve, or a closed port, will not change within minutes. */
export function unreachable(code: string, reason: string, failures: number, now: number): RenewalInfo {
  const lasts = ['ENOTFOUND', 'ECONNREFUSED', 'NOT_A_DIRECTORY'].includes(code);
  return lasts ? lasting(reason, now) : passing(reason, failures, undefined, now);
}

/** Uniform over the window, and the same for the same certificate as long as the window stands. */
export function chooseInstant({ start, end }: Window, seed: string): number {
  const digest = createHash('sha256').update(`${seed} ${start} ${end}`).digest();
  return Math.floor(start + (digest.readUInt32BE() / 0x1_0000_0000) * (end - start));
}

function lasting(problem: string, now: number): RenewalInfo {
  return none(problem, now + POLL_DEFAULT_MS, 0);
}

function passing(problem: string, failures: number, retryAfter: string | undefined, now: number): RenewalInfo {
  const wish = parseRetryAfter(retryAfter, now);
  const at = wish === null ? now + (RETRY_MS[failures] ?? POLL_DEFAULT_MS) : clampPoll(wish, now);
  return none(problem, at, failures + 1);
}

function none(problem: string, nextPollAt: number, failures: number): RenewalInfo {
  return { window: null, selectedTime: null, nextPollAt, explanationUrl: null, problem, failures };
}

function clampPoll(at: number, now: number): number {
  return Math.min(now + POLL_MAX_MS, Math.max(now + POLL_MIN_MS, at));
}

/** RFC 3339. */
function instantOf(value: unknown): number {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : NaN;
}
