/** What was logged last, for those who ask later: of each service, and of the program itself. */
import type { LoggedEvent } from '../log.ts';

/** Events of each service, and as many of the program's own. */
const KEPT = 1_000;

export interface RecentEvents {
  /** Of one service, or of all and the program's own; oldest first, the last `count`. */
  list(service: string | null, count: number): readonly LoggedEvent[];
  /** Hears what comes from now on, until it is disposed of. */
  follow(listener: (event: LoggedEvent) => void): Disposable;
  observe(event: LoggedEvent): void;
}

export function createRecentEvents(): RecentEvents {
  /** By service; '' is the program itself. */
  const kept = new Map<string, LoggedEvent[]>();
  const listeners = new Set<(event: LoggedEvent) => void>();
  return {
    list: (service, count) => {
      if (service !== null) return (kept.get(service) ?? []).slice(-count);
      return [...kept.values()]
        .flatMap((events) => events.slice(-count))
        .toSorted((a, b) => a.at.getTime() - b.at.getTime())
        .slice(-count);
    },
    follow: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    observe: (event) => {
      const service = serviceOf(event) ?? '';
      let events = kept.get(service);
      if (events === undefined) kept.set(service, (events = []));
      events.push(event);
      // Rarely, as it moves them all.
      if (events.length >= 2 * KEPT) events.splice(0, events.length - KEPT);
      for (const listener of listeners) {
        try {
          listener(event);
        } catch {
          // To log it would call it again.
          listeners.delete(listener);
        }
      }
    },
  };
}

/** Of which service an event tells; null: of the program. */
export function serviceOf({ fields }: LoggedEvent): string | null {
  return typeof fields['service'] === 'string' ? fields['service'] : null;
}
