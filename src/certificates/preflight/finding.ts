/** What a check before an order found: the evidence, and how it is mended. */

export type CheckName = 'names' | 'dns' | 'caa' | 'self_probe' | 'ca' | 'profile' | 'clock' | 'storage' | 'budget';
export type Level = 'ok' | 'warn' | 'fail';

/** Stable: scripts go by them. */
export type FindingCode =
  | 'ok'
  // Names.
  | 'name_not_issuable'
  | 'too_many_names'
  // DNS.
  | 'dns_nxdomain'
  | 'dns_no_address'
  | 'dns_servfail'
  | 'dns_unanswered'
  | 'dns_private_address'
  | 'dns_address_wrong'
  | 'dns_aaaa_elsewhere'
  | 'address_not_ours'
  // CAA.
  | 'caa_issue_forbids'
  | 'caa_issuewild_forbids'
  | 'caa_accounturi'
  | 'caa_validationmethods'
  | 'caa_unknown_critical'
  | 'caa_servfail'
  | 'caa_not_judged'
  // The path of http-01, from here.
  | 'port80_not_ours'
  | 'port80_closed'
  | 'port_not_80'
  | 'hairpin_inconclusive'
  | 'redirect_loop'
  | 'redirect_refused'
  | 'challenge_redirected'
  | 'challenge_too_long'
  // The CA.
  | 'ca_unreachable'
  | 'ca_not_a_directory'
  | 'eab_required'
  | 'terms_changed'
  | 'profile_unknown'
  | 'profile_without_addresses'
  | 'clock_skew'
  // What is ours.
  | 'storage_read_only'
  | 'storage_full'
  | 'budget_used_up'
  | 'order_must_wait';

export interface Finding {
  readonly check: CheckName;
  readonly code: FindingCode;
  readonly level: Level;
  /** A name, an address or a URL. */
  readonly subject: string;
  /** The evidence. Strangers' words may be in it: whoever prints it escapes. */
  readonly message: string;
  /** What to do; null when all is well. */
  readonly fix: string | null;
}

export function passed(check: CheckName, subject: string, message: string): Finding {
  return { check, code: 'ok', level: 'ok', subject, message, fix: null };
}

export function warning(check: CheckName, code: FindingCode, subject: string, message: string, fix: string): Finding {
  return { check, code, level: 'warn', subject, message, fix };
}

export function failure(check: CheckName, code: FindingCode, subject: string, message: string, fix: string): Finding {
  return { check, code, level: 'fail', subject, message, fix };
}

export function worstLevel(findings: readonly Finding[]): Level {
  const has = (level: Level): boolean => findings.some((finding) => finding.level === level);
  return has('fail') ? 'fail' : has('warn') ? 'warn' : 'ok';
}

/** Failures that have an exit code of their own: of the CA, of the budget, of the storage. */
const CLASSES: Partial<Readonly<Record<FindingCode, 4 | 6 | 7>>> = {
  ca_unreachable: 4,
  ca_not_a_directory: 4,
  budget_used_up: 6,
  storage_read_only: 7,
  storage_full: 7,
};

/** 0: nothing failed; 3: preflight failed; 4, 6, 7: it failed for that reason alone. */
export function preflightCode(findings: readonly Finding[]): 0 | 3 | 4 | 6 | 7 {
  const codes = new Set(findings.filter(({ level }) => level === 'fail').map(({ code }) => CLASSES[code] ?? 3));
  const [first] = codes;
  return codes.size > 1 ? 3 : (first ?? 0);
}
