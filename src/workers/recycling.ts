/** When a worker that does no harm is replaced all the same: it has done enough, is old, or has grown. Pure. */
import type { Reason } from './states.ts';

/** Samples in a row above the soft limit: a peak is no leak. */
export const SOFT_SAMPLES = 3;
const JITTER = 0.1;

export interface Life {
  readonly ageMs: number;
  readonly requests: number;
  /** Bytes, of its last samples, the latest last; none: not known. */
  readonly memory: readonly number[];
  /** 0 to 1, its own: workers that began together must not be replaced together. */
  readonly luck: number;
}

export interface RecyclingLimits {
  /** 0: none, as in the others. */
  readonly maxRequests: number;
  readonly maxAgeMs: number;
  readonly memory: { readonly soft: number; readonly hard: number };
}

export type Recycling = { readonly reason: Reason; readonly how: 'replace' | 'kill' } | null;

export function recycling({ ageMs, requests, memory, luck }: Life, limits: RecyclingLimits): Recycling {
  const latest = memory.at(-1) ?? 0;
  const { soft, hard } = limits.memory;
  if (hard > 0 && latest > hard) return { reason: 'memory', how: 'kill' };
  const last = memory.slice(-SOFT_SAMPLES);
  if (soft > 0 && last.length === SOFT_SAMPLES && last.every((bytes) => bytes > soft)) {
    return { reason: 'memory', how: 'replace' };
  }
  const spread = 1 + (luck - 0.5) * 2 * JITTER;
  if (limits.maxRequests > 0 && requests >= limits.maxRequests * spread)
    return { reason: 'max_requests', how: 'replace' };
  if (limits.maxAgeMs > 0 && ageMs >= limits.maxAgeMs * spread) return { reason: 'max_age', how: 'replace' };
  return null;
}
