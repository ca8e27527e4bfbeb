/** Who waits for one thing gets it in the order of asking; who gives up lets the next one by. */
export interface Turns {
  /** Resolves when all before are done; disposing ends the turn. Rejects with the signal's reason. */
  take(name: string, signal: AbortSignal): Promise<Disposable>;
}

export function createTurns(): Turns {
  const lasts = new Map<string, Promise<void>>();
  return {
    take: async (name, signal) => {
      const before = lasts.get(name) ?? Promise.resolve();
      const turn = Promise.withResolvers<void>();
      const last = before.then(() => turn.promise);
      lasts.set(name, last);
      void last.then(() => lasts.get(name) === last && lasts.delete(name));
      try {
        await unlessAborted(before, signal);
      } catch (error) {
        turn.resolve();
        throw error;
      }
      return { [Symbol.dispose]: () => turn.resolve() };
    },
  };
}

async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
