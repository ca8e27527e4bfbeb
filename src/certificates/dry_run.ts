/**
 * A renewal that is only tried: what can be checked here, then an order with a CA for tests, of which nothing is kept.
 * What cannot succeed is not ordered: a CA counts failures, too.
 */
import { failedTrial } from './trial.ts';
import type { TrialResult } from './trial.ts';
import { exitCodeOf } from './outcome.ts';
import type { RenewalCode } from './outcome.ts';
import type { WantedCertificate } from './preflight/context.ts';
import { preflightCode, worstLevel } from './preflight/finding.ts';
import type { Finding, Level } from './preflight/finding.ts';
import { createSlots } from '../pace.ts';
import type { CertificateFindings } from './preflight/preflight.ts';
import type { ChallengeType } from './solvers/solver.ts';
import { VERSION } from '../version.ts';

/** Trial orders at once: CAs for tests have limits, too. */
const TRIALS = 4;

/** When nobody says otherwise. */
export const DRY_RUN_TIMEOUT_MS = 120_000;

/** `staging` (the issuer's test_ca), `production` (the issuer) or a directory's URL. */
export function isCaChoice(ca: string): boolean {
  return ca === 'staging' || ca === 'production' || (URL.canParse(ca) && new URL(ca).protocol === 'https:');
}

export interface DryRunCertificate extends WantedCertificate {
  readonly mode: 'acme' | 'internal' | 'files';
  readonly real: RealCertificate | null;
}

/** What is served now. Milliseconds since the epoch. */
export interface RealCertificate {
  readonly notAfter: number;
  /** null: nothing renews it by itself. */
  readonly renewAt: number | null;
  /** The window the CA suggests (RFC 9773); null: it suggests none. */
  readonly window: { readonly start: number; readonly end: number } | null;
}

export interface DryRunOptions {
  readonly certificates: readonly DryRunCertificate[];
  /** Directory URL of the CA that is asked. */
  readonly ca: string;
  readonly challenges: readonly ChallengeType[];
  readonly preflight: (
    certificates: readonly WantedCertificate[],
    signal: AbortSignal,
  ) => Promise<readonly CertificateFindings[]>;
  /** The order, with an account and a key of its own. Whatever it arms it disarms, also when `signal` aborts. */
  readonly trial: (certificate: DryRunCertificate, signal: AbortSignal) => Promise<TrialResult>;
  readonly preflightOnly: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface DryRunResult {
  readonly name: string;
  readonly hosts: readonly string[];
  /** null: no CA is asked for it. */
  readonly ca: string | null;
  readonly challenge: string | null;
  readonly outcome: 'would_renew' | 'failed';
  /** 0, or the first of 3 preflight, 4 CA, 5 validation, 6 rate limit, 7 storage, 1 else. */
  readonly code: RenewalCode | 3;
  readonly reason: string | null;
  readonly preflight: { readonly level: Level; readonly findings: readonly Finding[] };
  /** null: there was none. */
  readonly trial: TrialResult | null;
  readonly real: RealCertificate | null;
}

/** What `--json` prints. */
export interface DryRunReport {
  readonly version: string;
  readonly dryRun: true;
  readonly preflightOnly: boolean;
  readonly ca: string;
  readonly results: readonly DryRunResult[];
  /** The results' code, or 8 when they differ. */
  readonly exitCode: number;
}

/** Rejects with the reason of `signal`, when all that was armed is disarmed. */
export async function dryRun(options: DryRunOptions): Promise<DryRunReport> {
  const { certificates, ca, signal, timeoutMs, preflightOnly } = options;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const late: TrialResult = { code: 4, reason: `it was not finished within ${timeoutMs / 1000} s`, problem: null };
  const asked = certificates.filter(({ mode }) => mode === 'acme');
  const found = await findingsOf(options, asked, deadline);
  const limit = createSlots(TRIALS);
  const attempt = async (certificate: DryRunCertificate): Promise<TrialResult> => {
    if (deadline.aborted) return late;
    const result = await options.trial(certificate, deadline).catch(failedTrial);
    return deadline.aborted && result.code !== 0 ? late : result;
  };
  const work = certificates.map(async (certificate): Promise<DryRunResult> => {
    const { name, hosts, mode, real } = certificate;
    const findings = found?.get(certificate) ?? [];
    const preflight = { level: worstLevel(findings), findings };
    const base = { name, hosts, preflight, real };
    if (mode !== 'acme') {
      const reason = `no CA is asked for tls: ${mode}`;
      return { ...base, ca: null, challenge: null, outcome: 'would_renew', code: 0, reason, trial: null };
    }
    const challenge = expectedChallenge(hosts, options.challenges);
    const code = preflightCode(findings);
    if (code !== 0) {
      const failed = findings.filter(({ level }) => level === 'fail').map((finding) => finding.code);
      const reason = `preflight failed: ${[...new Set(failed)].join(', ')}`;
      return { ...base, ca, challenge, outcome: 'failed', code, reason, trial: null };
    }
    if (preflightOnly && found !== null) {
      return { ...base, ca, challenge, outcome: 'would_renew', code: 0, reason: null, trial: null };
    }
    const trial = found === null ? late : await limit(() => attempt(certificate));
    return {
      ...base,
      ca,
      challenge: trial.challenge ?? challenge,
      outcome: trial.code === 0 ? 'would_renew' : 'failed',
      code: trial.code,
      reason: trial.reason ?? null,
      trial,
    };
  });
  const results = await Promise.all(work);
  signal.throwIfAborted();
  return { version: VERSION, dryRun: true, preflightOnly, ca, results, exitCode: exitCodeOf(results) };
}

/** By certificate; null: there was no time for them all. */
async function findingsOf(
  { preflight, signal }: DryRunOptions,
  asked: readonly DryRunCertificate[],
  deadline: AbortSignal,
): Promise<ReadonlyMap<WantedCertificate, readonly Finding[]> | null> {
  if (asked.length === 0) return new Map();
  try {
    const all = await preflight(asked, deadline);
    return new Map(all.map(({ certificate, findings }) => [certificate, findings]));
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted) return null;
    throw error;
  }
}

/** The first that fits all of the names. */
function expectedChallenge(hosts: readonly string[], challenges: readonly ChallengeType[]): string | null {
  const wildcard = hosts.some((host) => host.startsWith('*.'));
  return challenges.find((type) => !wildcard || type === 'dns-01' || type === 'dns-persist-01') ?? null;
}
