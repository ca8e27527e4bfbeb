/**
 * One account per CA and binding, kept for ever: made when first needed, under a lock (two at once would make two),
 * and again only when the CA has forgotten it, which the ledger allows twice a day.
 */
import { createHash } from 'node:crypto';
import type { Directory } from './directory.ts';
import { AcmeProblem, BudgetError } from './errors.ts';
import { createKey } from './keys.ts';
import { openSession } from './session.ts';
import type { AcmeSession } from './session.ts';
import { fieldsOf } from './transport.ts';
import type { Transport } from './transport.ts';
import type { Ledger } from '../ledger.ts';
import type { Storage } from '../storage/storage.ts';
import { issuerSlug } from '../storage/keys.ts';
import type { IssuerConfig } from '../../config/config.ts';
import type { Logger } from '../../log.ts';

/** A CA that can be talked to. */
export interface Connection {
  readonly issuer: IssuerConfig;
  readonly transport: Transport;
  readonly directory: Directory;
  readonly signal: AbortSignal;
}

export interface Accounts {
  /** The account that is kept, without asking anybody; makes one where there is none. */
  open(connection: Connection, email: string | null): Promise<AcmeSession>;
  /** Another account in place of `lost`, which the CA does not know any more. */
  recreate(connection: Connection, email: string | null, lost: string): Promise<AcmeSession>;
  /** null: there is none yet. */
  kept(issuer: IssuerConfig): Promise<KeptAccount | null>;
  /** The account goes on with another key. */
  rollover(connection: Connection): Promise<void>;
  /** The CA ends the account, and we forget it. */
  deactivate(connection: Connection): Promise<void>;
}

export interface AccountsOptions {
  readonly storage: Storage;
  readonly ledger: Ledger;
  readonly log: Logger;
}

export interface KeptAccount {
  readonly url: string;
  /** Those that were agreed to. */
  readonly termsOfService: string | null;
}

export function createAccounts({ storage, ledger, log }: AccountsOptions): Accounts {
  const keyOf = (issuer: IssuerConfig): string => `${folderOf(issuer)}/key.pem`;
  const nextKeyOf = (issuer: IssuerConfig): string => `${folderOf(issuer)}/next.pem`;
  const recordOf = (issuer: IssuerConfig): string => `${folderOf(issuer)}/account.json`;

  const session = (
    { issuer, transport, directory, signal }: Connection,
    accountKey: string,
    accountUrl: string | null,
  ): Promise<AcmeSession> =>
    openSession({ transport, directoryUrl: issuer.ca, directory, accountKey, accountUrl, eab: issuer.eab, signal });

  const locked = <T>({ issuer, signal }: Connection, work: () => Promise<T>): Promise<T> =>
    storage.withLock(folderOf(issuer), signal, work);

  const load = async (issuer: IssuerConfig): Promise<{ readonly key: string; readonly kept: KeptAccount } | null> => {
    const kept = parseKept(await storage.read(recordOf(issuer)));
    const key = kept === null ? null : await storage.read(keyOf(issuer));
    return kept === null || key === null ? null : { key, kept };
  };

  /** Both keys may be the account's when a change was cut short: the CA knows. */
  const settleRollover = async (connection: Connection, old: string): Promise<string> => {
    const { issuer, directory } = connection;
    const next = await storage.read(nextKeyOf(issuer));
    if (next === null) return old;
    let key = next;
    try {
      const candidate = await session(connection, next, null);
      await candidate.postAsKey(directory.newAccount, { onlyReturnExisting: true });
      await storage.write(keyOf(issuer), next);
    } catch (error) {
      if (!(error instanceof AcmeProblem) || error.type !== 'accountDoesNotExist') throw error;
      key = old;
    }
    await storage.remove(nextKeyOf(issuer));
    return key;
  };

  const make = async (connection: Connection, email: string | null): Promise<AcmeSession> => {
    const { issuer, directory } = connection;
    if (directory.externalAccountRequired && issuer.eab === null) {
      throw refusal(
        'externalAccountRequired',
        'this CA wants accounts bound to one of its own: acme.issuers[].eab',
        issuer,
      );
    }
    const verdict = await ledger.mayCreateAccount(issuer.ca);
    if (!verdict.ok) throw new BudgetError(verdict.until, verdict.reason);
    // The key is kept first: whoever dies here asks for the same account again (RFC 8555 section 7.3.1).
    const known = await storage.read(keyOf(issuer));
    const key = known ?? (await createKey('p256'));
    if (known === null) await storage.write(keyOf(issuer), key);
    const opened = await session(connection, key, null);
    const contact = email === null ? {} : { contact: [`mailto:${email}`] };
    const answer = await opened.postAsKey(
      directory.newAccount,
      { termsOfServiceAgreed: true, ...contact },
      { bind: issuer.eab !== null },
    );
    const url = answer.headers['location'];
    if (url === undefined) throw refusal('malformed', 'the CA made an account and did not say which', issuer);
    if (answer.status === 201) await ledger.accountCreated(issuer.ca);
    const kept: KeptAccount = { url, termsOfService: directory.termsOfService };
    await storage.write(recordOf(issuer), `${JSON.stringify(kept)}\n`);
    log.info('account_created', { ca: issuer.ca, account: url });
    opened.useAccount(url);
    return opened;
  };

  const noticeTerms = async ({ issuer, directory }: Connection, kept: KeptAccount): Promise<void> => {
    if (directory.termsOfService === kept.termsOfService) return;
    log.warn('terms_of_service_changed', { ca: issuer.ca, terms: directory.termsOfService });
    await storage.write(recordOf(issuer), `${JSON.stringify({ ...kept, termsOfService: directory.termsOfService })}\n`);
  };

  const open: Accounts['open'] = async (connection, email) => {
    const { issuer } = connection;
    const found = await load(issuer);
    if (found !== null && (await storage.read(nextKeyOf(issuer))) === null) {
      await noticeTerms(connection, found.kept);
      return session(connection, found.key, found.kept.url);
    }
    return locked(connection, async () => {
      const again = await load(issuer);
      if (again === null) return make(connection, email);
      return session(connection, await settleRollover(connection, again.key), again.kept.url);
    });
  };

  return {
    open,
    recreate: (connection, email, lost) =>
      locked(connection, async () => {
        const { issuer } = connection;
        const found = await load(issuer);
        if (found !== null && found.kept.url !== lost) return session(connection, found.key, found.kept.url);
        const verdict = await ledger.mayCreateAccount(issuer.ca);
        if (!verdict.ok) throw new BudgetError(verdict.until, verdict.reason);
        log.warn('account_lost', { ca: issuer.ca, account: lost });
        // The record first: a key must never be taken for that of another account.
        await storage.remove(recordOf(issuer));
        await storage.remove(keyOf(issuer));
        return make(connection, email);
      }),
    kept: async (issuer) => (await load(issuer))?.kept ?? null,
    rollover: async (connection) => {
      const { issuer, directory } = connection;
      const { keyChange } = directory;
      if (keyChange === null) throw refusal('malformed', 'this CA changes no account keys', issuer);
      const old = await open(connection, null);
      await locked(connection, async () => {
        const next = await createKey('p256');
        await storage.write(nextKeyOf(issuer), next);
        const successor = await session(connection, next, null);
        try {
          await old.post(keyChange, successor.sign(keyChange, { account: old.accountUrl, oldKey: old.jwk() }));
        } catch (error) {
          // Refused; without an answer both may be it, and whoever opens the account next asks.
          if (error instanceof AcmeProblem) await storage.remove(nextKeyOf(issuer));
          throw error;
        }
        await storage.write(keyOf(issuer), next);
        await storage.remove(nextKeyOf(issuer));
      });
      log.info('account_key_changed', { ca: issuer.ca, account: old.accountUrl });
    },
    deactivate: async (connection) => {
      const { issuer } = connection;
      const found = await load(issuer);
      if (found === null) return;
      await locked(connection, async () => {
        const opened = await session(connection, found.key, found.kept.url);
        await opened.post(found.kept.url, { status: 'deactivated' });
        await storage.remove(folderOf(issuer));
      });
      log.info('account_deactivated', { ca: issuer.ca, account: found.kept.url });
    },
  };
}

/** A word for a CA and a binding. */
export function accountSlug({ ca, eab }: IssuerConfig): string {
  if (eab === null) return issuerSlug(ca);
  return `${issuerSlug(ca)}-${createHash('sha256').update(eab.kid).digest('hex').slice(0, 8)}`;
}

function folderOf(issuer: IssuerConfig): string {
  return `accounts/${accountSlug(issuer)}`;
}

function parseKept(text: string | null): KeptAccount | null {
  if (text === null) return null;
  try {
    const { url, termsOfService } = fieldsOf(JSON.parse(text));
    if (typeof url !== 'string') return null;
    return { url, termsOfService: typeof termsOfService === 'string' ? termsOfService : null };
  } catch {
    return null;
  }
}

/** What the CA would say if it were asked. */
export function refusal(type: string, detail: string, { ca }: IssuerConfig): AcmeProblem {
  return new AcmeProblem({ type, status: 400, detail, subproblems: [], retryAt: null, url: ca, instance: null });
}
