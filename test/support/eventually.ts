/** Waiting for what is to become true, with a deadline instead of a guess. */
import { describeError } from '../../src/log.ts';
import { sleep } from '../../src/lifecycle.ts';

/** Asks until `probe` neither throws nor returns undefined or false; then returns what it returned. */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  { withinMs = 10_000, everyMs = 25 }: { readonly withinMs?: number; readonly everyMs?: number } = {},
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + withinMs;
  let problem = 'it stayed false';
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    } catch (error) {
      problem = describeError(error);
    }
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${problem}`);
    await sleep(everyMs);
  }
}
