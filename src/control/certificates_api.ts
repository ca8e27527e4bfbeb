/** What the admin socket offers about certificates. */
import { AdminError, flag, taking } from './admin.ts';
import type { AdminVerb } from './admin.ts';
import { UnknownCertificateError } from '../certificates/certificates.ts';
import type { Certificates, DryRunRequest } from '../certificates/certificates.ts';
import { DRY_RUN_TIMEOUT_MS, isCaChoice } from '../certificates/dry_run.ts';
import { parseReason, REVOCATION_REASONS } from '../certificates/revocation.ts';

/** What only a trial is told. */
const TRIAL = ['dry_run', 'ca', 'preflight_only', 'timeout_ms'] as const;

export function certificateHandlers(certificates: () => Certificates): Readonly<Record<string, AdminVerb>> {
  return {
    'POST /v1/renew': taking(['names', 'force', ...TRIAL], async (input, signal) => {
      const names = stringList(input['names']);
      if (!flag(input, 'dry_run')) {
        const [stray] = TRIAL.filter((key) => key !== 'dry_run' && input[key] !== undefined);
        if (stray !== undefined) throw new AdminError(400, 'bad_request', `"${stray}" belongs to "dry_run": true`);
        return certificates().renew({ names, force: flag(input, 'force') });
      }
      flag(input, 'force');
      try {
        return await certificates().dryRun({ names, ...dryRunInput(input) }, signal);
      } catch (error) {
        if (signal.aborted) throw new AdminError(499, 'aborted', 'whoever asked is gone');
        throw error;
      }
    }),
    'GET /v1/certs': taking([], async () => ({ certificates: certificatesJson(certificates()) })),
    'POST /v1/certs/reload': taking([], async () => {
      await certificates().reload();
      return { certificates: certificatesJson(certificates()) };
    }),
    'POST /v1/certs/revoke': taking(['name', 'reason', 'with_certificate_key'], async (input) => {
      const { name, reason = 'unspecified' } = input;
      const byKey = flag(input, 'with_certificate_key');
      const parsed = parseReason(reason);
      if (typeof name !== 'string') throw new AdminError(400, 'bad_request', '"name" must be a host name');
      if (parsed === null) {
        throw new AdminError(400, 'bad_request', `"reason" must be one of ${REVOCATION_REASONS.join(', ')}`);
      }
      return known(() => certificates().revoke(name, parsed, byKey));
    }),
    'POST /v1/account/rollover': taking([], () =>
      known(async () => ({ accounts: await certificates().rolloverAccountKeys() })),
    ),
    'POST /v1/account/deactivate': taking([], () =>
      known(async () => ({ accounts: await certificates().deactivateAccounts() })),
    ),
  };
}

async function known<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UnknownCertificateError) throw new AdminError(404, 'unknown_certificate', error.message);
    throw error;
  }
}

/** `ca`, `preflight_only`, `timeout_ms`: each with a default. */
function dryRunInput(input: Readonly<Record<string, unknown>>): Omit<DryRunRequest, 'names'> {
  const { ca = 'staging', timeout_ms: timeoutMs = DRY_RUN_TIMEOUT_MS } = input;
  if (typeof ca !== 'string' || !isCaChoice(ca)) {
    throw new AdminError(400, 'bad_request', '"ca" must be staging, production or an https:// address');
  }
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= 3_600_000)) {
    throw new AdminError(400, 'bad_request', '"timeout_ms" must be a number up to an hour');
  }
  return { ca, preflightOnly: flag(input, 'preflight_only'), timeoutMs };
}

function stringList(value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw new AdminError(400, 'bad_request', '"names" must be a list of host names');
  }
  return value;
}

export function certificatesJson(certificates: Certificates): unknown[] {
  return certificates.status().map((it) => ({
    name: it.name,
    hosts: it.hosts,
    mode: it.mode,
    issuer: it.issuer,
    serial: it.serial,
    served_serial: it.servedSerial,
    served_checked_at: iso(it.servedAt),
    not_before: iso(it.notBefore),
    not_after: iso(it.notAfter),
    renew_at: iso(it.decision?.dueAt ?? null),
    renew_reason: it.decision?.reason ?? null,
    ari: it.ari && { start: iso(it.ari.start), end: iso(it.ari.end), explanation_url: it.ari.explanationUrl },
    alarm: it.alarm,
    last_error: it.lastError,
    needs_operator: it.needsOperator,
    next_attempt_at: iso(it.nextAttemptAt),
  }));
}

export function iso(ms: number | null): string | null {
  return ms === null || ms === 0 || !Number.isFinite(ms) ? null : new Date(ms).toISOString();
}
