/** When a certificate is renewed, and when after a failure: pure, and the only place that knows. */
import { createHash } from 'node:crypto';

const MINUTE = 60_000;
const DAY = 86_400_000;
/** Let's Encrypt's advice: renew with a third left; certificates shorter than ten days at half. */
const SHORT_LIFE_MS = 10 * DAY;
/** 1, 10, 100 minutes, then daily, for short certificates more often. */
const RETRY_MS = [MINUTE, 10 * MINUTE, 100 * MINUTE];

export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serial: string;
}

export interface RenewalInput {
  readonly name: string;
  readonly certificate: Validity | null;
  /** Failed attempts since the last success. */
  readonly failures: number;
  readonly lastAttemptAt: number | null;
  /** The CA asked not to be bothered before; null: it did not. */
  readonly notBeforeByCa: number | null;
}

/** The time, in milliseconds since the epoch, of the next attempt; the past means now. */
export function nextAttemptAt({ name, certificate, failures, lastAttemptAt, notBeforeByCa }: RenewalInput): number {
  const due = certificate === null ? 0 : renewAt(name, certificate);
  if (failures === 0 || lastAttemptAt === null) return Math.max(due, notBeforeByCa ?? 0);
  return Math.max(due, lastAttemptAt + retryDelay(failures, certificate), notBeforeByCa ?? 0);
}

/** When a certificate is due: by its own dates alone. */
export function renewAt(name: string, { notBefore, notAfter, serial }: Validity): number {
  const life = notAfter - notBefore;
  const share = life < SHORT_LIFE_MS ? 1 / 2 : 2 / 3;
  // Certificates issued together need not be renewed together; the same one always at the same time.
  const due = notBefore + life * (share + jitter(name + serial));
  // However dates were chosen, a twentieth of the life must be left for failures.
  return Math.round(Math.min(due, notAfter - life / 20));
}

/** Milliseconds to wait after the n-th failure in a row, n from 1. */
export function retryDelay(failures: number, certificate: Validity | null): number {
  const fixed = RETRY_MS[failures - 1];
  if (fixed !== undefined) return fixed;
  const life = certificate === null ? Infinity : certificate.notAfter - certificate.notBefore;
  return Math.max(MINUTE, Math.min(DAY, life / 40));
}

/** −2 % to +2 %. */
function jitter(seed: string): number {
  return (createHash('sha256').update(seed).digest().readUInt32BE() / 0xffffffff - 0.5) * 0.04;
}
