/** Why a certificate is revoked (RFC 5280 section 5.3.1): those reasons that Let's Encrypt and others take. */
const REASONS = { unspecified: 0, keyCompromise: 1, superseded: 4, cessationOfOperation: 5 } as const;
export type RevocationReason = keyof typeof REASONS;
export const REVOCATION_REASONS = Object.keys(REASONS) as readonly RevocationReason[];

export function parseReason(value: unknown): RevocationReason | null {
  return REVOCATION_REASONS.find((reason) => reason === value) ?? null;
}

export function reasonCode(reason: RevocationReason): number {
  return REASONS[reason];
}
