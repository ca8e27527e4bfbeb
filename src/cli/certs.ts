/** `proxy certs`: what is served, kept, brought in and taken out; what only a daemon can do is `certs_online.ts`'s. */
import { callDaemon, DaemonError, DaemonUnreachableError } from './admin_client.ts';
import { changeAccounts, listServed, revoke } from './certs_online.ts';
import { findSocket, readConfiguration } from './configuration.ts';
import { readPassphrase } from './passphrase.ts';
import { complain, complainAbout, formatTable, print } from './terminal.ts';
import type { Certificate } from '../certificates/certificate.ts';
import { createFileStorage } from '../certificates/storage/file_storage.ts';
import { createCertificateStore, StorageError } from '../certificates/store.ts';
import type { CertificateStore, Stored } from '../certificates/store.ts';
import { findLineages, lacksIssuer, readLineage, readPemFiles, readPkcs12File } from '../certificates/transfer/read.ts';
import { exportFiles, exportPkcs12, findStored, importCertificate } from '../certificates/transfer/transfer.ts';
import type { Config } from '../config/config.ts';
import { describeError } from '../log.ts';

export interface CertsOptions {
  /** `list` (default), `import`, `export`, `revoke` or `account`, and what that is about. */
  readonly words: readonly string[];
  readonly config: string | undefined;
  readonly socket: string | undefined;
  readonly json: boolean;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly certbot: string | undefined;
  readonly pkcs12: string | undefined;
  readonly passphrase: string | undefined;
  readonly out: string | undefined;
  readonly reason: string | undefined;
  readonly withCertificateKey: boolean;
}

/** Exit 0; 1 failed or misused; 2 bad configuration; 7 the storage failed; 8 only some were imported. */
export async function certs(options: CertsOptions): Promise<number> {
  const [what = 'list', ...rest] = options.words;
  const problem = misuse(what, rest, options);
  if (problem !== null) {
    complain(`proxy: ${problem}`);
    complain('see: proxy --help');
    return 1;
  }
  try {
    const online = await askDaemon(what, rest, options);
    if (online !== null) return online;
  } catch (error) {
    complainAbout(error);
    if (error instanceof DaemonError) for (const detail of error.details) complain(detail);
    return 1;
  }
  const config = readConfiguration(options.config)?.config ?? null;
  if (config === null) return 2;
  const store = createCertificateStore(createFileStorage(config.stateDirectory));
  try {
    if (what === 'import') return await importAll(store, config, options);
    if (what === 'export') return await exportOne(store, rest[0] ?? '', options);
    return tell(await store.list(), options.json);
  } catch (error) {
    complainAbout(error);
    return error instanceof StorageError ? 7 : 1;
  }
}

/** null: it is no daemon's business, or none runs and the storage can tell. */
async function askDaemon(what: string, [name = '']: readonly string[], options: CertsOptions): Promise<number | null> {
  if (what === 'import' || what === 'export') return null;
  const socket = findSocket(options.socket, options.config);
  const { reason = 'unspecified', withCertificateKey, json } = options;
  if (what === 'revoke') return revoke(socket, { name, reason, withCertificateKey, json });
  if (what === 'account') return changeAccounts(socket, name === 'rollover' ? 'rollover' : 'deactivate', json);
  try {
    return await listServed(socket, json);
  } catch (error) {
    if (error instanceof DaemonUnreachableError && options.socket === undefined) return null;
    throw error;
  }
}

/** What is wrong with what was asked; null: nothing. */
function misuse(what: string, rest: readonly string[], options: CertsOptions): string | null {
  const { certificate, key, certbot, pkcs12, passphrase, out, json, reason, withCertificateKey } = options;
  const given = (...values: readonly (string | undefined)[]): number => values.filter((it) => it !== undefined).length;
  if (what !== 'revoke' && (reason !== undefined || withCertificateKey))
    return '--reason and --with-certificate-key belong to "certs revoke"';
  if (what === 'revoke' && rest.length !== 1) return 'give one name: proxy certs revoke NAME';
  if (what === 'account' && !(rest.length === 1 && ['rollover', 'deactivate'].includes(rest[0] ?? ''))) {
    return '"certs account" is followed by rollover or deactivate';
  }
  if (what === 'revoke' || what === 'account') {
    return given(certificate, key, certbot, pkcs12, passphrase, out) > 0
      ? `"certs ${what}" takes none of these options`
      : null;
  }
  if (what !== 'export' && rest.length > 0) return `"certs ${what}" takes no argument "${rest[0]}"`;
  switch (what) {
    case 'list':
      return given(certificate, key, certbot, pkcs12, passphrase, out) > 0 ? '"certs list" takes only --json' : null;
    case 'import':
      if (given(out) > 0 || json) return '"certs import" takes no --out and no --json';
      if (given(certificate, certbot, pkcs12) !== 1) return 'give one of --certificate, --certbot and --pkcs12';
      if (key !== undefined && certificate === undefined) return '--key belongs to --certificate';
      return certbot !== undefined && passphrase !== undefined ? "certbot's keys have no passphrase" : null;
    case 'export':
      if (given(certificate, key, certbot) > 0 || json) return '"certs export" takes a name, --out or --pkcs12';
      if (rest.length !== 1) return 'give one name: proxy certs export NAME --out DIR';
      if (given(out, pkcs12) !== 1) return 'give one of --out and --pkcs12';
      if (pkcs12 !== undefined) return passphrase === undefined ? '--pkcs12 needs a --passphrase' : null;
      return passphrase !== undefined ? '--passphrase belongs to --pkcs12' : null;
    default:
      return `there is no "certs ${what}": it is list, import, export, revoke or account`;
  }
}

async function importAll(store: CertificateStore, config: Config, options: CertsOptions): Promise<number> {
  const sites = config.sites.filter(({ tls }) => tls.mode === 'acme');
  const found = await readSources(options);
  let imported = 0;
  for (const { source, read } of found) {
    try {
      const certificate = await read();
      const names = await importCertificate(store, certificate, sites, Date.now());
      imported += 1;
      for (const name of names) {
        const until = new Date(certificate.notAfter).toISOString();
        const site = sites.some((it) => it.name === name) ? '' : '; no site with tls: acme has its names yet';
        print(`${source}: imported for ${name}, valid until ${until}${site}`);
      }
      if (lacksIssuer(certificate)) complain(`${source}: it came without its issuer, which some clients will miss`);
    } catch (error) {
      if (error instanceof StorageError) throw error;
      complain(`${source}: not imported: ${describeError(error)}`);
    }
  }
  if (imported > 0) await tellDaemon(options);
  return imported === found.length ? 0 : imported === 0 ? 1 : 8;
}

interface Source {
  readonly source: string;
  readonly read: () => Certificate | Promise<Certificate>;
}

async function readSources(options: CertsOptions): Promise<readonly Source[]> {
  const { certificate, certbot, pkcs12 } = options;
  const passphrase = options.passphrase === undefined ? null : readPassphrase(options.passphrase, process.env);
  if (pkcs12 !== undefined) return [{ source: pkcs12, read: () => readPkcs12File(pkcs12, passphrase) }];
  if (certificate !== undefined) {
    return [{ source: certificate, read: () => readPemFiles(certificate, options.key ?? certificate, passphrase) }];
  }
  const lineages = findLineages(certbot ?? '');
  if (lineages.length === 0) throw new Error(`${certbot} has no certificates of certbot's (no live/NAME/privkey.pem)`);
  return lineages.map((lineage) => ({ source: lineage.folder, read: () => readLineage(lineage) }));
}

/** A daemon serves it at once; without one, the next start does. */
async function tellDaemon({ socket, config }: CertsOptions): Promise<void> {
  try {
    await callDaemon(findSocket(socket, config), 'POST', '/v1/certs/reload', {});
  } catch (error) {
    if (error instanceof DaemonUnreachableError) print('no daemon runs: it is served from the next start on');
    else complain(`the daemon did not take it up: ${describeError(error)}`);
  }
}

async function exportOne(store: CertificateStore, name: string, options: CertsOptions): Promise<number> {
  const stored = await findStored(store, name);
  if (stored === null || stored.certificate === null) {
    const names = (await store.list()).map((it) => it.name);
    const why = stored?.problems.join('; ') ?? `there are: ${names.join(', ') || 'none at all'}`;
    complain(`proxy: nothing is kept for ${name}; ${why}`);
    return 1;
  }
  const { out, pkcs12 } = options;
  if (pkcs12 !== undefined) {
    const passphrase = readPassphrase(options.passphrase ?? '', process.env);
    print(await exportPkcs12(stored.certificate, pkcs12, passphrase));
  } else {
    for (const file of await exportFiles(stored.certificate, out ?? '.')) print(file);
  }
  return 0;
}

function tell(stored: readonly Stored[], json: boolean): number {
  if (json) print(JSON.stringify({ certificates: stored.map(toJson) }, null, 2));
  else if (stored.length === 0) print('no certificate is kept');
  else print(formatTable([['NAME', 'ISSUER', 'HOSTS', 'VALID UNTIL', 'PROBLEM'], ...stored.map(toRow)]));
  return 0;
}

/** Without the key. */
function toJson({ issuer, name, certificate, meta, problems }: Stored): Readonly<Record<string, unknown>> {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    name,
    issuer,
    hosts: certificate?.names ?? [],
    serial: certificate?.serial ?? null,
    not_before: iso(certificate?.notBefore),
    not_after: iso(certificate?.notAfter),
    ca: meta?.ca ?? null,
    profile: meta?.profile ?? null,
    key_type: meta?.keyType ?? null,
    obtained_at: iso(meta?.obtainedAt),
    problems,
  };
}

function toRow({ issuer, name, certificate, problems }: Stored): string[] {
  const until = certificate === null ? '-' : new Date(certificate.notAfter).toISOString();
  const expired = certificate !== null && certificate.notAfter <= Date.now() ? ' (expired)' : '';
  return [name, issuer, certificate?.names.join(' ') ?? '-', until + expired, problems[0] ?? '-'];
}
