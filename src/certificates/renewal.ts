/** When a certificate is renewed, why then, and when after a failure: pure, and the only place that knows. */

const MINUTE = 60_000;
const DAY = 86_400_000;
/** Let's Encrypt's advice: renew with a third left; certificates shorter than ten days at half. */
const SHORT_LIFE_MS = 10 * DAY;
/** However dates were chosen, so much of the life must be left for failures. */
const EMERGENCY_SHARE = 1 / 20;
/** 1, 10, 100 minutes, then daily, for short certificates more often. */
const RETRY_MS = [MINUTE, 10 * MINUTE, 100 * MINUTE];

/** What a certificate is to be. */
export interface Wanted {
  readonly names: readonly string[];
  readonly keyType: string;
  /** null: the CA's default, whatever it is. */
  readonly profile: string | null;
  /** Directory URLs of the CAs that may have issued it. */
  readonly issuers: readonly string[];
}

/** What there is. */
export interface Held {
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Hexadecimal. */
  readonly serial: string;
  /** How it was ordered; null when others ordered it. */
  readonly order: { readonly issuer: string; readonly profile: string | null; readonly keyType: string } | null;
}

/** What the CA said about renewing one certificate (RFC 9773). */
export interface AriRecord {
  readonly certId: string;
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** Chosen once within the window, and kept while the window stands. */
  readonly selectedAt: number;
  readonly explanationUrl: string | null;
}

/** Failures since the last success. */
export interface Attempts {
  readonly failures: number;
  readonly lastAttemptAt: number;
  readonly error: string;
  /** An exit code, as `outcome.ts` has them. */
  readonly code: number;
  /** The CA asked not to be asked before; null: it did not. */
  readonly retryAt: number | null;
  /** Trying again will not help: somebody must change something. */
  readonly needsOperator: boolean;
  /** Fingerprint of what was wanted: another wish is not held back by these. */
  readonly wish: string;
}

export interface DecisionInput {
  readonly now: number;
  readonly wanted: Wanted;
  readonly held: Held | null;
  readonly ari: AriRecord | null;
  readonly attempts: Attempts | null;
}

export type RenewalReason =
  | 'missing'
  | 'ari'
  | 'emergency'
  | 'ratio'
  | 'names_changed'
  | 'key_type_changed'
  | 'profile_changed'
  | 'issuer_changed';

export interface Decision {
  /** Milliseconds since the epoch; the past means now. */
  readonly dueAt: number;
  readonly reason: RenewalReason;
  /** The CA itself asks for it now, so that it counts for none of its limits. */
  readonly exempt: boolean;
  /** Not before `dueAt`; later when failures or the CA hold it back. */
  readonly attemptAt: number;
}

/** In order of authority: the CA's own word, what little life is left, its dates, and what the operator changed. */
export function decide(input: DecisionInput): Decision {
  const { now, ari, attempts, wanted } = input;
  const { dueAt, reason } = due(input);
  // Let's Encrypt counts a renewal outside its window like any other (start inclusive, end exclusive).
  const exempt = reason === 'ari' && ari !== null && now >= ari.start && now < ari.end;
  return { dueAt, reason, exempt, attemptAt: Math.max(dueAt, heldBackUntil(input, wishOf(wanted), attempts)) };
}

function due({ wanted, held, ari, now }: DecisionInput): Pick<Decision, 'dueAt' | 'reason'> {
  if (held === null) return { dueAt: 0, reason: 'missing' };
  const emergencyAt = held.notAfter - (held.notAfter - held.notBefore) * EMERGENCY_SHARE;
  const planned: Pick<Decision, 'dueAt' | 'reason'> =
    ari === null ? { dueAt: renewAt(held), reason: 'ratio' } : { dueAt: ari.selectedAt, reason: 'ari' };
  const byDates = emergencyAt < planned.dueAt ? ({ dueAt: emergencyAt, reason: 'emergency' } as const) : planned;
  if (byDates.dueAt <= now) return byDates;
  const changed = difference(wanted, held);
  return changed === null ? byDates : { dueAt: 0, reason: changed };
}

function difference({ names, keyType, profile, issuers }: Wanted, { names: has, order }: Held): RenewalReason | null {
  // What others ordered need not be exactly what we would have.
  if (order === null) return names.every((name) => has.some((one) => covers(one, name))) ? null : 'names_changed';
  if (names.length !== has.length || !names.every((name) => has.includes(name))) return 'names_changed';
  if (!issuers.includes(order.issuer)) return 'issuer_changed';
  if (keyType !== order.keyType) return 'key_type_changed';
  return profile !== null && profile !== order.profile ? 'profile_changed' : null;
}

/** Whether a certificate for `name` is one for `host` (RFC 9525 section 6.3: a wildcard stands for one label). */
export function covers(name: string, host: string): boolean {
  return (
    name === host || (name.startsWith('*.') && host.indexOf('.') > 0 && host.slice(host.indexOf('.')) === name.slice(1))
  );
}

/** When a certificate is due by its own dates alone. */
export function renewAt({ notBefore, notAfter, serial }: Pick<Held, 'notBefore' | 'notAfter' | 'serial'>): number {
  const life = notAfter - notBefore;
  const share = life < SHORT_LIFE_MS ? 1 / 2 : 2 / 3;
  // Certificates issued together need not be renewed together; the same one always at the same time.
  return Math.round(Math.min(notBefore + life * (share + spread(serial)), notAfter - life * EMERGENCY_SHARE));
}

function heldBackUntil({ held }: DecisionInput, wish: string, attempts: Attempts | null): number {
  if (attempts === null || attempts.wish !== wish) return 0;
  const { failures, lastAttemptAt, retryAt, needsOperator } = attempts;
  const delay = needsOperator ? DAY : retryDelay(failures, held);
  // Ten percent more or less: what failed together is not tried together.
  const jitter = ((lastAttemptAt % 1_000) / 1_000 - 0.5) * 0.2;
  return Math.max(lastAttemptAt + delay * (1 + jitter), retryAt ?? 0);
}

/** Milliseconds to wait after the n-th failure in a row, n from 1. */
export function retryDelay(failures: number, held: Pick<Held, 'notBefore' | 'notAfter'> | null): number {
  const life = held === null ? Infinity : held.notAfter - held.notBefore;
  const longest = life / 10;
  return Math.min(RETRY_MS[failures - 1] ?? Math.max(MINUTE, Math.min(DAY, life / 40)), longest);
}

/** What was wanted, as one text to compare. */
export function wishOf({ names, keyType, profile, issuers }: Wanted): string {
  return [names.toSorted().join(), keyType, profile ?? '', issuers.join()].join(' ');
}

/** −2 % to +2 %, by the last digits of a serial number: they are random. */
function spread(digits: string): number {
  return (Number.parseInt(digits.slice(-6), 16) / 0xffffff - 0.5) * 0.04;
}

export type AlarmLevel = 'none' | 'low' | 'high' | 'critical' | 'expired';

/** How loud a warning about the life that is left must be: long past the time it should have been renewed. */
export function alarmLevel({ notBefore, notAfter }: Pick<Held, 'notBefore' | 'notAfter'>, now: number): AlarmLevel {
  const left = (notAfter - now) / (notAfter - notBefore);
  if (left <= 0) return 'expired';
  if (left <= 1 / 20) return 'critical';
  if (left <= 1 / 8) return 'high';
  return left <= 1 / 4 ? 'low' : 'none';
}
