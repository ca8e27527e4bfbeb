/** Asking again until the CA is done, as often as it wants to be asked. */
import { OrderError } from './errors.ts';
import type { AcmeSession } from './session.ts';
import type { Answer } from './transport.ts';
import { sleep } from '../../lifecycle.ts';

/** The CA's own wish is heeded within these. */
const POLL_MIN_MS = 1_000;
const POLL_MAX_MS = 60_000;
/** Without a wish: a CA that is quick is not kept waiting, a slow one not pestered. */
const POLL_STEPS_MS = [250, 1_000, 2_000, 5_000];

export interface PollOptions<T> {
  readonly url: string;
  readonly parse: (answer: Answer) => T;
  readonly done: (value: T) => boolean;
  readonly withinMs: number;
  readonly signal: AbortSignal;
  /** What was answered already; null or without: it is asked for. */
  readonly first?: Answer | null;
}

/** Rejects with an `OrderError` (`unfinished`) when the time is over. */
export async function poll<T>(session: AcmeSession, options: PollOptions<T>): Promise<T> {
  const { url, parse, done, withinMs, signal } = options;
  const deadline = Date.now() + withinMs;
  let answer = options.first ?? (await session.post(url, null));
  for (let attempt = 0; ; attempt++) {
    const value = parse(answer);
    if (done(value)) return value;
    const wait = pauseMs(answer.retryAt, attempt, Date.now());
    if (Date.now() + wait > deadline) throw new OrderError('unfinished', 'the CA is not done yet', {});
    await sleep(wait, signal);
    signal.throwIfAborted();
    answer = await session.post(url, null);
  }
}

export function pauseMs(retryAt: number | null, attempt: number, now: number): number {
  if (retryAt !== null) return Math.min(POLL_MAX_MS, Math.max(POLL_MIN_MS, retryAt - now));
  return POLL_STEPS_MS[Math.min(attempt, POLL_STEPS_MS.length - 1)] ?? POLL_MAX_MS;
}
