/** An answer could not be made, or is not seen where CAs look. The message says what happened, and what to do about it. */
export type ChallengeErrorCode =
  /** The operator's command failed, or took too long. */
  | 'HOOK_FAILED'
  | 'HOOK_TIMEOUT'
  /** The name server refused a change, or could not be asked for one. */
  | 'UPDATE_REFUSED'
  | 'UPDATE_UNREACHABLE'
  | 'NO_ZONE'
  | 'CNAME_LOOP'
  /** Not every name server shows the record. */
  | 'NOT_PROPAGATED'
  /** A record only the operator can make. */
  | 'RECORD_MISSING';

export class ChallengeError extends Error {
  readonly code: ChallengeErrorCode;
  constructor(code: ChallengeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
