/** Waiting that can be called off. */

/** Resolves after `ms` milliseconds, or at once when `signal` aborts (then resolves too: callers re-check the signal). */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    // Node fires timers past 2^31-1 ms at once.
    const timer = setTimeout(done, Math.min(Math.max(0, ms), 0x7fffffff));
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** The promise's value, or `fallback` when `ms` milliseconds pass first. Never rejects later on its own. */
export async function within<T, F>(promise: Promise<T>, ms: number, fallback: F): Promise<T | F> {
  const timeout = new AbortController();
  try {
    return await Promise.race([promise, sleep(ms, timeout.signal).then(() => fallback)]);
  } finally {
    timeout.abort();
  }
}

/** Resolves when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
