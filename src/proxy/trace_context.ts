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

export interface Traceparents {
  /** `sampled`: its recorder wants it. */
  begin(sampled: boolean): string;
  /** The same trace, with a span of ours as the parent of what follows. */
  goOn(traceparent: string): string;
}

export function createTraceparents(): Traceparents {
  let digits = '';
  let at = 0;
  const take = (count: number): string => {
    if (at + count > digits.length) {
      digits = randomBytes((IDS_AT_ONCE * ID_DIGITS) / 2).toString('hex');
      at = 0;
    }
    at += count;
    return digits.slice(at - count, at);
  };
  return {
    begin: (sampled) => `00-${take(32)}-${take(16)}-${sampled ? '01' : '00'}`,
    // What a later version says beyond is not ours to say again.
    goOn: (traceparent) => `00-${traceIdOf(traceparent)}-${take(16)}-${traceparent.slice(53, 55)}`,
  };
}
