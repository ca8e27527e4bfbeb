/** How a renewal ended, and the exit code that says so. */

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

export function exitCodeOf(results: readonly { readonly code: number }[]): number {
  const codes = new Set(results.map(({ code }) => code));
  const [first] = codes;
  return codes.size > 1 ? 8 : (first ?? 0);
}
