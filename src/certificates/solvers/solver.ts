/** How control over a name is shown to a CA (RFC 8555 section 8, RFC 8737, draft-ietf-acme-dns-persist). */

export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01' | 'dns-persist-01';

export interface Identifier {
  readonly type: 'dns' | 'ip';
  /** Lower-case name without `*.`, or an address. */
  readonly value: string;
}

export interface Challenge {
  readonly type: ChallengeType;
  readonly identifier: Identifier;
  /** The order asks for `*.value`. */
  readonly wildcard: boolean;
  readonly token: string;
  readonly keyAuthorization: string;
  /** The account's URL, which a persistent record names. */
  readonly accountUrl: string;
  /** Of dns-persist-01: what the CA says it is called in such records (its `issuer-domain-names`). */
  readonly issuerDomains?: readonly string[];
}

/**
 * `arm` resolves when whoever the CA asks sees the answer: every proxy has it, every name server shows it. `disarm` takes
 * the answer away, must not fail for one that was never armed, and never rejects (it logs). Both may run for several
 * challenges at once, also of one name.
 */
export interface Solver {
  readonly type: ChallengeType;
  /** Whether it could show control over this at all: a wildcard needs DNS, an address must not have it. */
  solves(identifier: Identifier, wildcard: boolean): boolean;
  arm(challenge: Challenge, signal: AbortSignal): Promise<void>;
  disarm(challenge: Challenge): Promise<void>;
}
