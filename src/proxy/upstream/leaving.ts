/** The end of tunnels and streams of events at a target that left. */
import type { Target } from './service.ts';

/** Over so long they end, so that their clients do not all come back at once. */
const SPREAD_MS = 1_000;

/** Ends them after `streamsMs`; those of a target that came back meanwhile go on. */
export function endStreams(target: Target, streamsMs: number): void {
  setTimeout(() => {
    const streams = [...target.streams];
    for (const [i, stream] of streams.entries()) {
      setTimeout(
        () => {
          if (target.removed && target.streams.has(stream)) stream.endStream();
        },
        (i / streams.length) * SPREAD_MS,
      ).unref();
    }
  }, streamsMs).unref();
}
