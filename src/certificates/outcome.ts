/** How a renewal ended, and the exit code that says so. */
import { AcmeProblem, AcmeTransportError } from './acme_session.ts';
import { ValidationError } from './issuer.ts';
import { StorageError } from './storage/storage.ts';

/** 0 done; 1 internal or misused; 4 the CA cannot be reached; 5 validation failed; 6 rate limited; 7 local storage. */
export type RenewalCode = 0 | 1 | 4 | 5 | 6 | 7;

export interface RenewalResult {
  readonly name: string;
  readonly outcome: 'renewed' | 'not_due' | 'would_renew' | 'failed';
  readonly code: RenewalCode;
  readonly reason?: string;
  readonly serial?: string;
  readonly notAfter?: string;
  readonly durationMs?: number;
}

export interface RenewalReport {
  readonly results: readonly RenewalResult[];
  /** A result's code, or 8 when results differ. */
  readonly exitCode: number;
}

/** RFC 8555 section 6.7: what the CA refuses because of the name or of what it found there. */
const VALIDATION_TYPES = new Set([
  'caa',
  'connection',
  'dns',
  'incorrectResponse',
  'rejectedIdentifier',
  'tls',
  'unauthorized',
  'unsupportedIdentifier',
]);

export function codeOf(error: unknown): RenewalCode {
  if (error instanceof ValidationError) return 5;
  if (error instanceof AcmeTransportError) return 4;
  if (error instanceof StorageError) return 7;
  if (!(error instanceof AcmeProblem)) return 1;
  if (error.type === 'rateLimited' || error.status === 429) return 6;
  if (VALIDATION_TYPES.has(error.type)) return 5;
  return error.status >= 500 ? 4 : 1;
}

export function exitCodeOf(results: readonly { readonly code: number }[]): number {
  const codes = new Set(results.map(({ code }) => code));
  const [first] = codes;
  return codes.size > 1 ? 8 : (first ?? 0);
}
