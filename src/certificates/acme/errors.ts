/** What can go wrong between us and a CA; `failure.ts` says what each means. */
import type { ChallengeType } from '../solvers/solver.ts';

/** What the CA found at one of the names (RFC 8555 section 6.7.1). */
export interface Subproblem {
  /** null: the CA names none. */
  readonly identifier: string | null;
  readonly type: string;
  readonly detail: string;
}

export interface ProblemFields {
  readonly type: string;
  readonly status: number;
  readonly detail: string;
  readonly subproblems: readonly Subproblem[];
  readonly retryAt: number | null;
  readonly url: string;
  readonly instance: string | null;
}

/** The CA answered, and refused (RFC 8555 section 6.7). */
export class AcmeProblem extends Error {
  /** Without `urn:ietf:params:acme:error:`; empty when the answer had none. */
  readonly type: string;
  readonly status: number;
  /** The CA's words, those of the subproblems left out. */
  readonly detail: string;
  readonly subproblems: readonly Subproblem[];
  /** Milliseconds since the epoch before which the CA wants no other request; null: it did not say. */
  readonly retryAt: number | null;
  /** What was asked. */
  readonly url: string;
  /** Where the CA tells people more, as how to lift a pause. */
  readonly instance: string | null;
  constructor(fields: ProblemFields) {
    const parts = [fields.detail, ...fields.subproblems.map(({ detail }) => detail)];
    super([...new Set(parts.filter(Boolean))].join('; ') || `the CA answered ${fields.status}`);
    this.type = fields.type;
    this.status = fields.status;
    this.detail = fields.detail;
    this.subproblems = fields.subproblems;
    this.retryAt = fields.retryAt;
    this.url = fields.url;
    this.instance = fields.instance;
  }
}

/** The CA could not be asked, or what answered is no CA. */
export class AcmeTransportError extends Error {
  /** Node's or TLS's (`ECONNREFUSED`, `CERT_HAS_EXPIRED`), or `ETIMEDOUT`, `NOT_A_DIRECTORY`, `TOO_LARGE`, `NOT_ACME`. */
  readonly code: string;
  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Why control over one name could not be shown. */
export interface ValidationFailure {
  /** As ordered: with `*.` for a wildcard. */
  readonly name: string;
  /** null: no challenge fits. */
  readonly challenge: ChallengeType | null;
  /** The problem's; `solver`: the answer could not be prepared, and the CA did not look. */
  readonly type: string;
  readonly detail: string;
  /** What the CA fetched, where it says so. */
  readonly url: string | null;
}

/** Control over at least one name could not be shown: there is no certificate for any of them. */
export class ValidationError extends Error {
  readonly failures: readonly ValidationFailure[];
  constructor(failures: readonly ValidationFailure[]) {
    super(failures.map(({ name, detail }) => `${name}: ${detail}`).join('; '));
    this.failures = failures;
  }
}

/** The order came to nothing, or is not finished yet. */
export class OrderError extends Error {
  readonly code: 'invalid' | 'unfinished' | 'rejected';
  /** Of the CA, where it gave one. */
  readonly type: string;
  /**
   * `invalid`: the CA gave it up. `unfinished`: the CA takes longer than we wait; the journal goes on with it.
   * `rejected`: what came is not the certificate that was ordered.
   */
  constructor(
    code: OrderError['code'],
    message: string,
    options: { readonly type?: string; readonly cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.type = options.type ?? '';
  }
}

/** Our own ledger says no: not before `until`. */
export class BudgetError extends Error {
  /** Milliseconds since the epoch. */
  readonly until: number;
  constructor(until: number, reason: string) {
    super(reason);
    this.until = until;
  }
}
