/** Which trace a request belongs to, as W3C Trace Context says it. */
import { randomBytes } from 'node:crypto';

const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

/** Of a later version than 00 there may be more behind what is known today; ff is none. */
export function isTraceparent(value: string): boolean {
  if (!TRACEPARENT.test(value) || value.startsWith('ff')) return false;
  return value.length === 55 || !value.startsWith('00');
}

export function traceIdOf(traceparent: string): string {
  return traceparent.slice(3, 35);
}

const ID_DIGITS = 32 + 16;
const IDS_AT_ONCE = 256;

/**
 * Begins traces, as sampled: a worker's own tracing decides as it would without us by what OpenTelemetry does by default, and
 * "not sampled" would switch it off.
 */
export function createTraceparents(): () => string {
  let digits = '';
  let at = 0;
  return () => {
    if (at === digits.length) {
      digits = randomBytes((IDS_AT_ONCE * ID_DIGITS) / 2).toString('hex');
      at = 0;
    }
    const start = at;
    at += ID_DIGITS;
    return `00-${digits.slice(start, start + 32)}-${digits.slice(start + 32, at)}-01`;
  };
}
