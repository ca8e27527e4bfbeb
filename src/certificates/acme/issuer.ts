/**
 * Certificates from ACME CAs, and what else is asked of them. Everything that must outlive us is kept in the storage
 * before it matters; when to ask again after a failure is the caller's to decide (`classify` says what it means).
 */
import { createPrivateKey } from 'node:crypto';
import net from 'node:net';
import { createAccounts, refusal } from './account.ts';
import type { Connection, KeptAccount } from './account.ts';
import { parseRenewalInfo, unreachable } from './ari.ts';
import type { RenewalInfo, RenewalQuery } from './ari.ts';
import { certificateId } from './certificate_id.ts';
import { createDirectories } from './directory.ts';
import type { Directory } from './directory.ts';
import { AcmeProblem, AcmeTransportError } from './errors.ts';
import { classify } from './failure.ts';
import { openJournal, orderKey } from './journal.ts';
import { fulfil } from './order.ts';
import type { Issued } from './order.ts';
import { openSession } from './session.ts';
import type { AcmeSession } from './session.ts';
import { createTransport } from './transport.ts';
import type { Certificate } from '../certificate.ts';
import type { Ledger } from '../ledger.ts';
import type { ChallengeType, Solver } from '../solvers/solver.ts';
import { LockLostError, StorageError } from '../storage/storage.ts';
import type { Lock, Storage } from '../storage/storage.ts';
import type { IssuerConfig, KeyType } from '../../config/config.ts';
import type { Logger } from '../../log.ts';

/** More than this is told of. */
const SKEW_WARN_MS = 5 * 60_000;
/** Let's Encrypt: addresses only in certificates of six days. */
const ADDRESS_PROFILE = 'shortlived';

export interface ObtainRequest {
  /** What the certificate is called. */
  readonly name: string;
  readonly hosts: readonly string[];
  readonly issuer: IssuerConfig;
  readonly email: string | null;
  /** In order of preference. */
  readonly challenges: readonly ChallengeType[];
  readonly keyType: KeyType;
  /** PEM; null: a new key. */
  readonly reuseKey: string | null;
  /** The certificate to be replaced and whose it is: named to the CA that issued it, and to no other. null: none. */
  readonly replaces: { readonly ca: string; readonly certId: string } | null;
  /** Of the certificate in use: an order that gave it is done. null: there is none. */
  readonly currentSerial: string | null;
  /** The CA asked for this renewal. */
  readonly exempt: boolean;
  /** An operator did. */
  readonly force: boolean;
  /** Of the certificate to be replaced, in milliseconds; null: there is none. */
  readonly lifeMs: number | null;
  readonly signal: AbortSignal;
  /** Asked again under the lock: another instance may have renewed meanwhile. */
  readonly stillNeeded: () => Promise<boolean>;
  /**
   * Keeps the certificate. When it rejects with a `StorageError` the certificate is obtained all the same (`notKept`),
   * and the next `obtain` brings it again without another order.
   */
  readonly install: (certificate: Certificate, about: IssuedMeta) => Promise<void>;
}

/** Where a certificate comes from: kept beside it. */
export interface IssuedMeta {
  /** Directory URL. */
  readonly ca: string;
  readonly accountUrl: string;
  readonly orderUrl: string;
  readonly profile: string | null;
  readonly keyType: KeyType;
  /** RFC 9773; null: its issuer cannot be asked about it. */
  readonly certId: string | null;
  /** How control was shown, by name; names the CA still knew are missing. */
  readonly solved: Readonly<Record<string, ChallengeType>>;
  /** Milliseconds since the epoch. */
  readonly obtainedAt: number;
}

export type Obtained =
  /** Another instance was quicker. */
  | { readonly outcome: 'not_needed' }
  | {
      readonly outcome: 'obtained';
      readonly certificate: Certificate;
      readonly about: IssuedMeta;
      /** Why `install` failed; null: it did not. */
      readonly notKept: StorageError | null;
    };

export interface RevokeRequest {
  readonly issuer: IssuerConfig;
  /** PEM, leaf first. */
  readonly chain: string;
  /** PEM of the certificate's own key, which proves a compromise without the account; null: the account asks. */
  readonly key: string | null;
  /** RFC 5280 section 5.3.1; Let's Encrypt takes 0, 1, 4 and 5. */
  readonly reason: number;
  readonly signal: AbortSignal;
}

export interface Issuer {
  obtain(request: ObtainRequest): Promise<Obtained>;
  /** null: this CA does not say when to renew. Never rejects because of the CA. */
  renewalInfo(issuer: IssuerConfig, query: RenewalQuery, signal: AbortSignal): Promise<RenewalInfo | null>;
  /** A certificate that is revoked already is no error. */
  revoke(request: RevokeRequest): Promise<void>;
  rolloverAccountKey(issuer: IssuerConfig, signal: AbortSignal): Promise<void>;
  deactivateAccount(issuer: IssuerConfig, signal: AbortSignal): Promise<void>;
  /** null: no account was made yet. */
  account(issuer: IssuerConfig): Promise<KeptAccount | null>;
  /** What the CA offers, as of now. */
  directory(issuer: IssuerConfig, signal: AbortSignal): Promise<Directory>;
  /** How far the CA's clock is ahead of ours, in milliseconds, as last seen; null: not known. */
  clockSkewMs(issuer: IssuerConfig): number | null;
}

export interface IssuerOptions {
  readonly storage: Storage;
  readonly solvers: readonly Solver[];
  readonly ledger: Ledger;
  readonly log: Logger;
  /** Of one request; 15 s without. */
  readonly requestTimeoutMs?: number;
  /** How long a finalized order is waited for; 120 s without. */
  readonly processingTimeoutMs?: number;
}

export function createIssuer(options: IssuerOptions): Issuer {
  const { storage, solvers, ledger, log } = options;
  const directories = createDirectories();
  const accounts = createAccounts({ storage, ledger, log });

  const withTransport = async <T>(
    { trustedRoots }: IssuerConfig,
    work: (transport: ReturnType<typeof createTransport>) => Promise<T>,
  ): Promise<T> => {
    const { requestTimeoutMs: timeoutMs } = options;
    const transport = createTransport({ trustedRoots, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
    try {
      return await work(transport);
    } finally {
      await transport.close();
    }
  };
  const connected = <T>(
    issuer: IssuerConfig,
    signal: AbortSignal,
    work: (connection: Connection) => Promise<T>,
  ): Promise<T> =>
    withTransport(issuer, async (transport) => {
      const directory = await directories.fresh(transport, issuer.ca, signal);
      const skewMs = directories.skewMs(issuer.ca) ?? 0;
      if (Math.abs(skewMs) > SKEW_WARN_MS) log.warn('clock_skew', { ca: issuer.ca, ahead_ms: skewMs });
      return await work({ issuer, transport, directory, signal });
    });

  /** The CA's Retry-After outlives us. */
  const park = async ({ issuer, hosts }: ObtainRequest, error: unknown): Promise<void> => {
    if (!(error instanceof AcmeProblem)) return;
    const { retryAt, scope } = classify(error);
    if (retryAt !== null) await ledger.parked(issuer.ca, scope === 'issuer' ? null : hosts, retryAt, error.message);
  };

  const obtainLocked = async (connection: Connection, request: ObtainRequest, lock: Lock): Promise<Obtained> => {
    const { issuer, hosts: names, email, keyType } = request;
    const journal = openJournal(storage, issuer.ca, request.name);
    const profile = chooseProfile(issuer, names, connection.directory);
    const { processingTimeoutMs } = options;
    const now = (): number => Date.now() + (directories.skewMs(issuer.ca) ?? 0);
    const replaces = request.replaces?.ca === issuer.ca ? request.replaces.certId : null;
    const order = (session: AcmeSession): Promise<Issued> => {
      const parts = {
        session,
        journal,
        lock,
        ledger,
        solvers,
        names,
        profile,
        replaces,
        now,
        processingTimeoutMs,
        log,
      };
      return fulfil({ ...request, ...parts });
    };

    let session = await accounts.open(connection, email);
    let issued: Issued;
    try {
      issued = await order(session);
    } catch (error) {
      const lost = error instanceof AcmeProblem && error.type === 'accountDoesNotExist' ? session.accountUrl : null;
      if (lost === null) throw error;
      await journal.remove();
      session = await accounts.recreate(connection, email, lost);
      issued = await order(session);
    }
    const { certificate, orderUrl, solved } = issued;
    const about: IssuedMeta = {
      ca: issuer.ca,
      accountUrl: session.accountUrl ?? '',
      orderUrl,
      profile,
      keyType,
      certId: certificateId(certificate.chain),
      solved,
      obtainedAt: Date.now(),
    };
    await lock.assertHeld();
    try {
      await request.install(certificate, about);
    } catch (error) {
      if (!(error instanceof StorageError) || error instanceof LockLostError) throw error;
      return { outcome: 'obtained', certificate, about, notKept: error };
    }
    try {
      await journal.remove();
      await ledger.issued({ ca: issuer.ca, names });
    } catch (error) {
      // The certificate is there; what is left over is recognized by its serial number.
      log.warn('order_not_closed', { order: orderUrl, error });
    }
    return { outcome: 'obtained', certificate, about, notKept: null };
  };

  return {
    obtain: async (request) => {
      const { issuer, name, signal } = request;
      await storage.probe();
      return storage.withLock(orderKey(issuer.ca, name), signal, async (lock) => {
        if (!(await request.stillNeeded())) {
          // Of somebody who died between the last two steps.
          await openJournal(storage, issuer.ca, name).remove();
          return { outcome: 'not_needed' };
        }
        try {
          return await connected(issuer, signal, (connection) => obtainLocked(connection, request, lock));
        } catch (error) {
          await park(request, error);
          throw error;
        }
      });
    },
    renewalInfo: async (issuer, query, signal) => {
      try {
        return await withTransport(issuer, async (transport) => {
          const { renewalInfo } = await directories.kept(transport, issuer.ca, signal);
          if (renewalInfo === null) return null;
          const url = `${renewalInfo.replace(/\/$/, '')}/${query.certId}`;
          return parseRenewalInfo(await transport.ask(url, 'GET', null, signal), query, Date.now());
        });
      } catch (error) {
        const now = Date.now();
        if (error instanceof AcmeTransportError) return unreachable(error.code, error.message, query.failures, now);
        if (error instanceof AcmeProblem) return unreachable('', error.message, query.failures, now);
        throw error;
      }
    },
    revoke: ({ issuer, chain, key, reason, signal }) =>
      connected(issuer, signal, async (connection) => {
        const { transport, directory } = connection;
        const { revokeCert } = directory;
        if (revokeCert === null) throw refusal('malformed', 'this CA revokes nothing by itself', issuer);
        const { crypto } = await import('acme-client');
        const payload = { certificate: crypto.getPemBodyAsB64u(chain), reason };
        try {
          if (key === null) {
            await (await accounts.open(connection, null)).post(revokeCert, payload);
          } else {
            // RFC 8555 section 7.6: the key itself signs, and no account is named.
            const accountKey = String(createPrivateKey(key).export({ type: 'pkcs8', format: 'pem' }));
            const at = { transport, directory, directoryUrl: issuer.ca, signal };
            const session = await openSession({ ...at, accountKey, accountUrl: null, eab: null });
            await session.postAsKey(revokeCert, payload);
          }
        } catch (error) {
          if (!(error instanceof AcmeProblem) || error.type !== 'alreadyRevoked') throw error;
        }
        log.info('certificate_revoked', { ca: issuer.ca, reason, by: key === null ? 'account' : 'certificate' });
      }),
    rolloverAccountKey: (issuer, signal) => connected(issuer, signal, accounts.rollover),
    deactivateAccount: (issuer, signal) => connected(issuer, signal, accounts.deactivate),
    account: accounts.kept,
    directory: (issuer, signal) => connected(issuer, signal, ({ directory }) => Promise.resolve(directory)),
    clockSkewMs: ({ ca }) => directories.skewMs(ca),
  };
}

/** A profile the CA does not list is not sent: some would choose another one. */
function chooseProfile(issuer: IssuerConfig, names: readonly string[], { profiles }: Directory): string | null {
  const listed = Object.keys(profiles ?? {});
  if (issuer.profile === null) {
    const hasAddress = names.some((name) => net.isIP(name) !== 0);
    return hasAddress && listed.includes(ADDRESS_PROFILE) ? ADDRESS_PROFILE : null;
  }
  if (listed.includes(issuer.profile)) return issuer.profile;
  const offer = listed.length === 0 ? 'it has none' : `it has ${listed.join(', ')}`;
  throw refusal('invalidProfile', `the CA does not list the profile ${issuer.profile}: ${offer}`, issuer);
}
