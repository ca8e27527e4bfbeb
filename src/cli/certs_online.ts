/** What `proxy certs` asks of the running daemon, which knows what is served and what happens next. */
import { callDaemon, isRecord } from './admin_client.ts';
import { during } from './progress.ts';
import { formatAge, formatTable, print } from './terminal.ts';
import { escapeControls } from '../log.ts';

/** Rejects as `callDaemon` does. */
export async function listServed(socket: string, json: boolean): Promise<number> {
  const value = await callDaemon(socket, 'GET', '/v1/certs');
  print(json ? JSON.stringify(value, null, 2) : describeCertificates(value, Date.now()));
  return 0;
}

export interface RevokeOptions {
  readonly name: string;
  readonly reason: string;
  readonly withCertificateKey: boolean;
  readonly json: boolean;
}

/** Exit codes as those of `renew`: the certificate that takes its place counts. */
export async function revoke(
  socket: string,
  { name, reason, withCertificateKey, json }: RevokeOptions,
): Promise<number> {
  const body = { name, reason, with_certificate_key: withCertificateKey };
  const result = await during('revoking', () => callDaemon(socket, 'POST', '/v1/certs/revoke', body));
  const { code, serial, reason: problem } = isRecord(result) ? result : {};
  if (json) print(JSON.stringify(result, null, 2));
  else if (code === 0)
    print(`${name} is revoked; the certificate in its place has the serial number ${String(serial)}`);
  else print(`${name} is revoked, and there is none in its place yet: ${escapeControls(String(problem))}`);
  return typeof code === 'number' ? code : 1;
}

export async function changeAccounts(
  socket: string,
  action: 'rollover' | 'deactivate',
  json: boolean,
): Promise<number> {
  const result = await during('asking the CA', () => callDaemon(socket, 'POST', `/v1/account/${action}`));
  if (json) {
    print(JSON.stringify(result, null, 2));
    return 0;
  }
  const accounts = isRecord(result) && Array.isArray(result['accounts']) ? result['accounts'].map(String) : [];
  const done = action === 'rollover' ? 'has a new key' : 'is deactivated; the next order makes another';
  for (const account of accounts) print(`${escapeControls(account)} ${done}`);
  if (accounts.length === 0) print('there is no account yet');
  return 0;
}

const REASONS: Readonly<Record<string, string>> = {
  missing: 'there is none',
  ari: 'the CA wants it then',
  emergency: 'a twentieth of its life is left',
  ratio: 'by its dates',
  names_changed: 'other names are configured',
  key_type_changed: 'another key type is configured',
  profile_changed: 'another profile is configured',
  issuer_changed: 'another CA is configured',
};

/** `now` in milliseconds since the epoch. */
export function describeCertificates(value: unknown, now: number): string {
  const list = isRecord(value) && Array.isArray(value['certificates']) ? value['certificates'].filter(isRecord) : [];
  if (list.length === 0) return 'no site needs a certificate';
  const head = ['NAME', 'ISSUER', 'SERVED', 'VALID UNTIL', 'RENEWAL', 'WHY THEN'];
  const rows = list.map((it) => [
    String(it['name']),
    issuerOf(it),
    servedOf(it),
    until(it['not_after'], now),
    it['next_attempt_at'] === null ? instant(it['renew_at'], now) : `${instant(it['next_attempt_at'], now)} (retry)`,
    it['renew_reason'] === null ? '-' : (REASONS[String(it['renew_reason'])] ?? String(it['renew_reason'])),
  ]);
  const notes = list.flatMap(notesOf);
  return [formatTable([head, ...rows].map((row) => row.map(escapeControls))), ...notes].join('\n');
}

function issuerOf({ mode, issuer }: Readonly<Record<string, unknown>>): string {
  if (typeof issuer === 'string' && URL.canParse(issuer)) return new URL(issuer).host;
  return mode === 'acme' ? '-' : String(mode);
}

function servedOf({ serial, served_serial }: Readonly<Record<string, unknown>>): string {
  if (serial === null) return 'nothing';
  if (served_serial === null) return 'not looked yet';
  return served_serial === serial ? 'yes' : 'ANOTHER ONE';
}

function until(value: unknown, now: number): string {
  if (typeof value !== 'string') return '-';
  const left = Date.parse(value) - now;
  const day = value.slice(0, 16).replace('T', ' ');
  return left > 0 ? `${day} (${formatAge(left)} left)` : `${day} (EXPIRED)`;
}

function instant(value: unknown, now: number): string {
  if (typeof value !== 'string') return '-';
  return Date.parse(value) <= now ? 'now' : value.slice(0, 19).concat('Z');
}

function notesOf({ name, last_error, needs_operator, ari, alarm }: Readonly<Record<string, unknown>>): string[] {
  const notes: string[] = [];
  if (typeof last_error === 'string') {
    notes.push(`  last error: ${last_error}${needs_operator === true ? ' (trying again will not help)' : ''}`);
  }
  if (isRecord(ari)) {
    const why = ari['explanation_url'] === null ? '' : `, see ${String(ari['explanation_url'])}`;
    notes.push(`  the CA suggests ${String(ari['start'])} to ${String(ari['end'])}${why}`);
  }
  if (alarm !== 'none') notes.push(`  warning: little of its life is left (${String(alarm)})`);
  return notes.length === 0 ? [] : ['', String(name), ...notes].map(escapeControls);
}
