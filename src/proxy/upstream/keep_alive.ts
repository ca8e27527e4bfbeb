/** How long an idle connection to a worker may be used, by what the worker says of it. */

/** What comes last is nearly always what came before: parsed once. */
let lastValue = '';
let lastMs = Infinity;

/**
 * Milliseconds for a `Keep-Alive` value such as `timeout=5, max=100` (RFC 2068 section 19.7.1); `Infinity` when it says
 * nothing of a time. A second less than it says, or half of it: when its time is up the worker closes, whatever is just
 * being written to it.
 */
export function idleMsOf(value: string): number {
  if (value === lastValue) return lastMs;
  const seconds = /(?:^|[,;\s])timeout\s*=\s*(\d{1,9})/i.exec(value)?.[1];
  const ms = Number(seconds) * 1_000;
  lastValue = value;
  lastMs = seconds === undefined ? Infinity : Math.max(ms - 1_000, ms / 2);
  return lastMs;
}
