/**
 * What nobody expected: an exception of our own code where none should be. It is told with its place, counted, and
 * survived: what goes on beside it is worth more than what it broke.
 */
import { sleep } from './lifecycle.ts';
import { describeError } from './log.ts';
import type { Logger } from './log.ts';

/** Enough of a stack to find the place. */
const STACK_LINES = 6;
/** Before what broke is begun again. */
const AGAIN_MS = 1_000;

let count = 0;

/** Of this process. */
export function defects(): number {
  return count;
}

export function tellDefect(log: Logger, error: unknown): void {
  count++;
  const stack = error instanceof Error ? (error.stack ?? '').split('\n').slice(0, STACK_LINES) : [];
  log.error('defect', { error: describeError(error), stack: stack.map((line) => line.trim()) });
}

/** Promises that nobody waits for: their rejections are defects, and not the end of the process. */
export function surviveRejections(log: Logger): void {
  process.on('unhandledRejection', (error) => tellDefect(log, error));
}

/** Does `work`, which others rely on: when it throws it is begun again, until `signal` aborts. Never rejects. */
export async function persist(
  work: () => Promise<void>,
  log: Logger,
  signal: AbortSignal,
  againMs = AGAIN_MS,
): Promise<void> {
  while (!signal.aborted) {
    try {
      return await work();
    } catch (error) {
      tellDefect(log, error);
    }
    await sleep(againMs, signal);
  }
}
