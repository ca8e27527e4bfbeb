/** What a failed order means: what to do about it, until when to wait, and which exit code says so. Pure. */
import { AcmeProblem, AcmeTransportError, BudgetError, OrderError, ValidationError } from './errors.ts';
import { StorageError } from '../storage/storage.ts';

/**
 * `transport`, `server`: nothing can be had of this CA for now. `rate_limited`: not before `retryAt`. `validation`: it
 * looked, and found something else. `order`: begin again, or go on with the journal. `account`: the CA has lost or ended
 * it. `local`: our own disk. `permanent`: it will say the same tomorrow. `budget`: our ledger says no.
 */
export type FailureClass =
  | 'transport'
  | 'server'
  | 'rate_limited'
  | 'validation'
  | 'order'
  | 'account'
  | 'local'
  | 'permanent'
  | 'budget'
  | 'internal';

export interface Failure {
  readonly class: FailureClass;
  /** Milliseconds since the epoch; null: the usual pause after a failure. */
  readonly retryAt: number | null;
  /** Whether `retryAt` and the class hold for everything asked of this CA, or for this set of names. */
  readonly scope: 'issuer' | 'names';
  /** Waiting mends nothing. */
  readonly needsOperator: boolean;
  /** 1 internal or misused; 4 the CA cannot be reached; 5 validation failed; 6 rate limited; 7 local storage. */
  readonly code: 1 | 4 | 5 | 6 | 7;
}

/** RFC 8555 section 6.7 and its successors: about the name, or what is configured for it. */
const PERMANENT: Readonly<Record<string, 1 | 5>> = {
  badCSR: 1,
  badPublicKey: 1,
  badRevocationReason: 1,
  badSignatureAlgorithm: 1,
  caa: 5,
  externalAccountRequired: 1,
  invalidContact: 1,
  invalidProfile: 1,
  malformed: 1,
  rejectedIdentifier: 5,
  unsupported: 5,
  unsupportedContact: 1,
  unsupportedIdentifier: 5,
  userActionRequired: 1,
};
const VALIDATION = new Set(['connection', 'dns', 'incorrectResponse', 'tls', 'unauthorized']);

export function classify(error: unknown): Failure {
  if (error instanceof AcmeProblem) return ofProblem(error);
  if (error instanceof AcmeTransportError) return failure('transport', 4, { scope: 'issuer' });
  if (error instanceof BudgetError) return failure('budget', 6, { retryAt: error.until });
  if (error instanceof StorageError) return failure('local', 7, { scope: 'issuer' });
  if (error instanceof ValidationError) {
    const isPermanent = error.failures.some(({ type }) => PERMANENT[type] !== undefined);
    return failure(isPermanent ? 'permanent' : 'validation', 5);
  }
  if (error instanceof OrderError) {
    if (PERMANENT[error.type] !== undefined) return failure('permanent', 5);
    if (VALIDATION.has(error.type)) return failure('validation', 5);
    return failure('order', error.code === 'unfinished' ? 4 : 1, { needsOperator: error.code === 'rejected' });
  }
  return failure('internal', 1);
}

function ofProblem({ type, status, retryAt, detail, instance }: AcmeProblem): Failure {
  if (type === 'rateLimited' || status === 429) {
    // Let's Encrypt pauses names that failed for months, and says where a person can lift it.
    const isPaused = instance !== null || /\bpause|unpause/i.test(detail);
    const scope = isAboutAccount(detail) ? 'issuer' : 'names';
    return failure('rate_limited', 6, { retryAt, scope, needsOperator: isPaused });
  }
  if (type === 'accountDoesNotExist') return failure('account', 1, { scope: 'issuer' });
  if (type === 'unauthorized' && /account/i.test(detail)) {
    return failure('account', 1, { scope: 'issuer', needsOperator: true });
  }
  if (status >= 500 || type === 'serverInternal' || type === 'badNonce') {
    return failure('server', 4, { retryAt, scope: 'issuer' });
  }
  if (type === 'orderNotReady' || type === 'alreadyReplaced' || status === 409) return failure('order', 1, { retryAt });
  const code = PERMANENT[type];
  if (code !== undefined) return failure('permanent', code, { retryAt });
  if (VALIDATION.has(type)) return failure('validation', 5, { retryAt });
  return failure('order', 1, { retryAt });
}

/** Let's Encrypt's words for the limits that no other set of names escapes. */
function isAboutAccount(detail: string): boolean {
  return /too many (?:new )?(?:orders|registrations)|service busy|this (?:account|IP)/i.test(detail);
}

function failure(
  of: FailureClass,
  code: Failure['code'],
  { retryAt = null, scope = 'names', needsOperator = of === 'permanent' }: Partial<Failure> = {},
): Failure {
  return { class: of, retryAt, scope, needsOperator, code };
}
