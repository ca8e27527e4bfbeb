/** The room's composition root: where certificates come from, what is kept of them, and what operators may ask. */
import { createIssuer } from './acme/issuer.ts';
import type { Issuer } from './acme/issuer.ts';
import { dryRun } from './dry_run.ts';
import type { DryRunReport } from './dry_run.ts';
import { createHook } from './hook.ts';
import { createLedger, createTrialLedger } from './ledger.ts';
import { exitCodeOf } from './outcome.ts';
import type { RenewalResult } from './outcome.ts';
import { publicPorts } from './preflight/ports.ts';
import { runPreflight } from './preflight/preflight.ts';
import { createRenewer } from './renewer.ts';
import type { Renewer, RenewerOptions } from './renewer.ts';
import { reasonCode } from './revocation.ts';
import type { RevocationReason } from './revocation.ts';
import type { AnswerBoard } from './solvers/answer_board.ts';
import { createSolvers, removeLeftovers } from './solvers/solvers.ts';
import { createAcmeSource } from './sources/acme.ts';
import { createFilesSource } from './sources/files.ts';
import { createInternalSource } from './sources/internal.ts';
import { findEphemeral } from './storage/ephemeral.ts';
import type { FileStorage } from './storage/file_storage.ts';
import { createMemoryStorage } from './storage/memory_storage.ts';
import type { Storage } from './storage/storage.ts';
import { createCertificateStore } from './store.ts';
import type { AcmeConfig, Config, EntrypointConfig, IssuerConfig } from '../config/config.ts';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';

const TIDY_MS = 86_400_000;

export interface CertificatesOptions {
  readonly config: Pick<Config, 'sites' | 'acme' | 'stateDirectory' | 'allowEphemeral'>;
  readonly storage: FileStorage;
  readonly board: AnswerBoard;
  /** What commands of the operator's inherit. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** As the configuration says now. */
  readonly entrypoints: () => readonly EntrypointConfig[];
  readonly publish: RenewerOptions['publish'];
  readonly servedLeaf: RenewerOptions['servedLeaf'];
  /** Sessions made with a key that may be known to others must not be resumed. */
  readonly rotateTicketKeys: () => Promise<void>;
  readonly log: Logger;
}

export interface DryRunRequest {
  /** None: all. */
  readonly names: readonly string[];
  /** Directory URL, `staging` (as configured) or `production`. */
  readonly ca: string;
  readonly preflightOnly: boolean;
  readonly timeoutMs: number;
}

export class UnknownCertificateError extends Error {}

export interface Certificates extends Pick<Renewer, 'load' | 'start' | 'reload' | 'renew' | 'status' | 'internalRoot'> {
  /** How many certificates were obtained, and how often that failed, so far. */
  renewals(): { readonly obtained: number; readonly failed: number };
  /** Other sites and CAs from now on; certificates that are still wanted stay. */
  setConfig(config: Pick<Config, 'sites' | 'acme'>): Promise<void>;
  /** Leaves nothing. Rejects with the reason of `signal`, when all that was armed is disarmed. */
  dryRun(request: DryRunRequest, signal: AbortSignal): Promise<DryRunReport>;
  /** Revokes what is served for `name`, replaces it with another key, and ends old sessions. */
  revoke(name: string, reason: RevocationReason, withCertificateKey: boolean): Promise<RenewalResult>;
  /** Account URLs whose key was changed. */
  rolloverAccountKeys(): Promise<readonly string[]>;
  /** Account URLs that were ended. */
  deactivateAccounts(): Promise<readonly string[]>;
  stop(): void;
}

/** An operator waits for it. */
const TRIAL_ACCOUNT_END_MS = 3_000;

export function createCertificates(options: CertificatesOptions): Certificates {
  const { storage, board, log, env } = options;
  let { acme } = options.config;
  const stopping = new AbortController();
  const { signal } = stopping;
  const store = createCertificateStore(storage);
  const ledger = createLedger(storage);

  const issuerOver = (configured: AcmeConfig | null, kept: Storage, trial: boolean): Issuer =>
    createIssuer({
      storage: kept,
      solvers:
        configured === null
          ? []
          : createSolvers({ acme: configured, storage: kept, board, log, env, entrypoints: options.entrypoints() }),
      ledger: trial ? createTrialLedger() : ledger,
      log,
    });
  let issuer = issuerOver(acme, storage, false);

  /** Every day: what expired long ago and nobody wants, and what writers left that were killed. */
  const tidy = async (): Promise<void> => {
    while (!signal.aborted) {
      await sleep(TIDY_MS, signal);
      if (signal.aborted) return;
      try {
        await storage.sweep(Date.now());
        const removed = await store.clean(Date.now(), (_, name) => renewer.find(name) !== undefined);
        if (removed.length > 0) log.info('certificates_cleaned', { removed });
      } catch (error) {
        log.warn('certificates_not_cleaned', { error });
      }
    }
  };
  const tellExposed = async (): Promise<void> => {
    for (const problem of await storage.problems()) log.warn('state_exposed', { problem });
  };
  tellExposed().catch((error: unknown) => log.warn('state_not_checked', { error }));
  const ephemeral = options.config.allowEphemeral ? null : findEphemeral(options.config.stateDirectory, env);
  const source = createAcmeSource({ acme: () => acme, issuer: () => issuer, store, ephemeral, log, signal });
  void removeLeftovers({ acme, storage, log, env });
  const hook = createHook(() => acme?.hook ?? null, log);
  const renewals = { obtained: 0, failed: 0 };
  const renewer = createRenewer({
    sites: options.config.sites,
    sources: { acme: source, internal: createInternalSource(store, log), files: createFilesSource(log) },
    askCa: source.askCa,
    publish: options.publish,
    servedLeaf: options.servedLeaf,
    onEvent: (event) => {
      if (event.type === 'obtained' || event.type === 'failed') renewals[event.type]++;
      hook(event);
    },
    stateDirectory: options.config.stateDirectory,
    log,
    signal,
  });

  const configured = (): { readonly acme: AcmeConfig; readonly first: IssuerConfig } => {
    const [first] = acme?.issuers ?? [];
    if (acme === null || first === undefined) throw new UnknownCertificateError('no CA is configured');
    return { acme, first };
  };

  const tryAll = async ({ names, ca, ...request }: DryRunRequest, ended: AbortSignal): Promise<DryRunReport> => {
    const { items } = renewer.select(names);
    const status = new Map(renewer.status().map((one) => [one.name, one]));
    const certificates = items.map(({ name, hosts, mode, certificate, ari }) => {
      const renewAt = status.get(name)?.decision?.dueAt ?? null;
      const lifeMs = certificate === null ? undefined : certificate.notAfter - certificate.notBefore;
      return {
        name,
        hosts,
        mode,
        real: certificate && { notAfter: certificate.notAfter, renewAt, window: ari },
        ...(renewAt === null || lifeMs === undefined ? {} : { dueAt: renewAt, lifeMs }),
      };
    });
    if (acme === null) {
      const none = (): never => {
        throw new Error('no CA is configured');
      };
      return dryRun({ ...request, ca, certificates, challenges: [], preflight: none, trial: none, signal: ended });
    }
    const { acme: settings, first } = configured();
    const directoryUrl = ca === 'staging' ? first.testCa : ca === 'production' ? first.ca : ca;
    const asked = { ...first, ca: directoryUrl, eab: directoryUrl === first.ca ? first.eab : null };
    const trial = issuerOver(settings, createMemoryStorage(), true);
    try {
      return await dryRun({
        ...request,
        certificates,
        ca: directoryUrl,
        challenges: settings.challenges,
        preflight: async (wanted, at) => {
          const account = await issuer.account(first);
          return runPreflight({
            certificates: wanted,
            acme: settings,
            issuer: first,
            directoryUrl,
            accountUrl: account?.url ?? null,
            // Another CA has other terms.
            agreedTerms: directoryUrl === first.ca ? (account?.termsOfService ?? null) : null,
            ports: publicPorts(options.entrypoints()),
            armProbe: async (token, value) => {
              await board.put('http-01', token, value);
              return () => board.take('http-01', token, value);
            },
            stateDirectory: options.config.stateDirectory,
            ledger,
            signal: at,
          });
        },
        trial: async ({ name }, at) => {
          const item = renewer.find(name);
          if (item === undefined) throw new UnknownCertificateError(`${name} is not served`);
          const blank = { replaces: null, reuseKey: null, currentSerial: null, lifeMs: null };
          const obtained = await trial.obtain({
            ...source.requestFor(item, settings, asked),
            ...blank,
            signal: at,
            stillNeeded: () => Promise.resolve(true),
            install: () => Promise.resolve(),
          });
          const solved = obtained.outcome === 'obtained' ? Object.values(obtained.about.solved) : [];
          return { code: 0, challenge: [...new Set(solved)].join(', ') };
        },
        signal: ended,
      });
    } finally {
      await endTrialAccount(trial, asked, log);
    }
  };

  /** Of all CAs there is an account with. */
  const eachAccount = async (work: (of: IssuerConfig) => Promise<void>): Promise<readonly string[]> => {
    const urls: string[] = [];
    for (const of of configured().acme.issuers) {
      const account = await issuer.account(of);
      if (account === null) continue;
      await work(of);
      urls.push(account.url);
    }
    return urls;
  };

  return {
    load: renewer.load,
    start: () => {
      renewer.start();
      void tidy();
    },
    reload: renewer.reload,
    renew: renewer.renew,
    status: renewer.status,
    internalRoot: renewer.internalRoot,
    renewals: () => ({ ...renewals }),
    setConfig: async (next) => {
      if (JSON.stringify(next.acme) !== JSON.stringify(acme)) {
        acme = next.acme;
        issuer = issuerOver(acme, storage, false);
      }
      await renewer.setSites(next.sites);
    },
    dryRun: async (request, ended) => {
      const report = await tryAll(request, AbortSignal.any([ended, signal]));
      const blank = { hosts: [], ca: null, challenge: null, trial: null, real: null } as const;
      const preflight = { level: 'fail', findings: [] } as const;
      const strangers = renewer.select(request.names).unknown.map((one) => ({ ...blank, preflight, ...one }));
      const results = [...strangers, ...report.results];
      return { ...report, results, exitCode: exitCodeOf(results) };
    },
    revoke: async (name, reason, withCertificateKey) => {
      const item = renewer.find(name);
      const certificate = item?.certificate ?? null;
      const from = configured().acme.issuers.find(({ ca }) => ca === item?.order?.issuer);
      if (item === undefined || certificate === null || from === undefined) {
        throw new UnknownCertificateError(`no certificate of a CA that is configured is served for ${name}`);
      }
      const { chain, key } = certificate;
      await issuer.revoke({
        issuer: from,
        chain,
        key: withCertificateKey ? key : null,
        reason: reasonCode(reason),
        signal,
      });
      const result = await renewer.replace(item);
      await options.rotateTicketKeys();
      return result;
    },
    rolloverAccountKeys: () => eachAccount((of) => issuer.rolloverAccountKey(of, signal)),
    deactivateAccounts: () => eachAccount((of) => issuer.deactivateAccount(of, signal)),
    stop: () => stopping.abort(),
  };
}

/** Nothing of a trial stays at the CA either, as far as it can be helped. */
async function endTrialAccount(trial: Issuer, at: IssuerConfig, log: Logger): Promise<void> {
  try {
    if ((await trial.account(at)) === null) return;
    await trial.deactivateAccount(at, AbortSignal.timeout(TRIAL_ACCOUNT_END_MS));
  } catch (error) {
    log.debug('trial_account_left', { ca: at.ca, error });
  }
}
