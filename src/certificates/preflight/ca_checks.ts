/** What the CA's directory tells before anything is ordered: reachability, terms, account binding, profile, time. */
import net from 'node:net';
import type { Check, CheckContext } from './context.ts';
import { failure, passed, warning } from './finding.ts';
import type { Finding } from './finding.ts';

const MINUTE = 60_000;
const SKEW_WARN_MS = 5 * MINUTE;
/** Certificates are backdated by an hour: beyond that a good one looks like none. */
const SKEW_FAIL_MS = 60 * MINUTE;
const CLOCK_CODES = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

export const checkCa: Check = async (_certificate, context) => {
  const { directoryUrl, issuer, agreedTerms } = context;
  const directory = await context.directory();
  if (directory.kind === 'unreachable') {
    const clock = CLOCK_CODES.has(directory.code) ? '; if its certificate is fine, the clock here is wrong' : '';
    return [
      failure(
        'ca',
        'ca_unreachable',
        directoryUrl,
        `the CA cannot be asked: ${directory.reason}${clock}`,
        "see the CA's status page, and that this machine may connect to it (firewall, DNS, trusted_roots of a private CA)",
      ),
    ];
  }
  if (directory.kind === 'not_a_directory') {
    return [
      failure(
        'ca',
        'ca_not_a_directory',
        directoryUrl,
        `what answers is no ACME directory: ${directory.reason}`,
        'correct the address in acme.issuers; if it is right, something between here and the CA answers in its place',
      ),
    ];
  }
  const { externalAccountRequired, termsOfService } = directory.directory;
  const findings: Finding[] = [];
  if (externalAccountRequired && issuer.eab === null) {
    findings.push(
      failure(
        'ca',
        'eab_required',
        directoryUrl,
        'the CA takes only accounts that are bound to one with the CA itself',
        "set eab: { kid, hmac_key } of the issuer, from the CA's customer page",
      ),
    );
  }
  if (agreedTerms !== null && termsOfService !== null && agreedTerms !== termsOfService) {
    findings.push(
      warning(
        'ca',
        'terms_changed',
        directoryUrl,
        `the terms of service are now ${termsOfService}; agreed to were ${agreedTerms}`,
        'read them; the CA goes on issuing until it says otherwise',
      ),
    );
  }
  return findings.length > 0 ? findings : [passed('ca', directoryUrl, 'the CA answers')];
};

export const checkProfile: Check = async ({ hosts }, context) => {
  const directory = await context.directory();
  if (directory.kind !== 'directory') return [];
  const { profile } = context.issuer;
  const listed = directory.directory.profiles && Object.keys(directory.directory.profiles);
  if (profile !== null && listed?.includes(profile) !== true) {
    const there = listed === null || listed.length === 0 ? 'the CA has no profiles' : `it has: ${listed.join(', ')}`;
    return [
      failure(
        'profile',
        'profile_unknown',
        profile,
        `the CA does not have this profile; ${there}`,
        'set the profile of the issuer to one of those, or leave it out',
      ),
    ];
  }
  // Let's Encrypt gives certificates for addresses by this profile alone.
  if (profile !== null && profile !== 'shortlived' && listed?.includes('shortlived') === true) {
    const address = hosts.find((host) => net.isIP(host) !== 0);
    if (address !== undefined) {
      return [
        failure(
          'profile',
          'profile_without_addresses',
          address,
          `the CA issues for addresses by its profile shortlived, and asked is ${profile}`,
          'set profile: shortlived, or leave it out',
        ),
      ];
    }
  }
  return [passed('profile', profile ?? 'default', 'the CA has this profile')];
};

export const checkClock: Check = async (_certificate, context) => {
  const directory = await context.directory();
  if (directory.kind === 'unreachable' || directory.clockAheadMs === null) return [];
  return [judgeClock(directory.clockAheadMs, context)];
};

export function judgeClock(aheadMs: number, { directoryUrl }: Pick<CheckContext, 'directoryUrl'>): Finding {
  const off = Math.abs(aheadMs);
  const { host } = new URL(directoryUrl);
  if (off <= SKEW_WARN_MS) return passed('clock', 'clock', `the clock here agrees with the one of ${host}`);
  const message = `the clock here is ${Math.round(off / MINUTE)} minutes ${aheadMs > 0 ? 'ahead of' : 'behind'} the one of ${host}`;
  const fix = 'set the clock, and keep it by NTP (timedatectl set-ntp true)';
  return off > SKEW_FAIL_MS
    ? failure('clock', 'clock_skew', 'clock', `${message}: good certificates look invalid`, fix)
    : warning('clock', 'clock_skew', 'clock', message, fix);
}
