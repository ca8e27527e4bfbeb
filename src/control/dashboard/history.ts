/** The last hour, for charts. */
import { sampleOf } from './samples.ts';
import type { Counters, Sample } from './samples.ts';
import { tellDefect } from '../../defects.ts';
import { sleep } from '../../lifecycle.ts';
import type { Logger } from '../../log.ts';

export const SAMPLE_MS = 5_000;
const KEPT_MS = 3_600_000;

export interface History {
  samples(): readonly Sample[];
  /** Hears of each sample that comes, until it is disposed of. */
  follow(listener: (sample: Sample) => void): Disposable;
}

/** Looks at the counters until `signal` aborts. */
export function keepHistory(read: () => Counters, log: Logger, signal: AbortSignal): History {
  const samples: Sample[] = [];
  const listeners = new Set<(sample: Sample) => void>();
  let before: Counters | null = null;
  const look = (): void => {
    const after = read();
    const sample = before === null ? null : sampleOf(before, after);
    before = after;
    if (sample === null) return;
    samples.push(sample);
    if (samples.length > KEPT_MS / SAMPLE_MS) samples.shift();
    for (const listener of listeners) listener(sample);
  };
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        look();
      } catch (error) {
        // Charts are not worth a service.
        tellDefect(log, error);
      }
      await sleep(SAMPLE_MS, signal);
    }
  };
  void loop();
  return {
    samples: () => samples,
    follow: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
  };
}
