/** The end of tunnels and streams of events at a target that left. */
import type { Target } from './service.ts';

/** Over at least so long they end, so that their clients do not all come back at once. */
const SPREAD_MS = 1_000;
/** And no faster than one in so long: each comes back with a handshake, and 500 of those are a third of a core. */
const APART_MS = 2;

/** Ends them after `streamsMs`; those of a target that came back meanwhile go on. */
export function endStreams(target: Target, streamsMs: number): void {
  setTimeout(() => {
    const streams = [...target.streams];
    const spreadMs = Math.max(SPREAD_MS, streams.length * APART_MS);
    for (const [i, stream] of streams.entries()) {
      setTimeout(
        () => {
          if (target.removed && target.streams.has(stream)) stream.endStream();
        },
        (i / streams.length) * spreadMs,
      ).unref();
    }
  }, streamsMs).unref();
}
