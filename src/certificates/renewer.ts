/**
 * Every site's certificate: read, issued or ordered, renewed in time, and published as soon as it is there. Nothing here
 * waits for a CA before something else is served, and a failed renewal takes nothing away.
 */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { dryRun } from './dry_run.ts';
import type { DryRunReport } from './dry_run.ts';
import { codeOf, exitCodeOf } from './outcome.ts';
import type { RenewalResult, RenewalReport } from './outcome.ts';
import { openInternalCa, ROOT_FILE } from './internal_ca.ts';
import { obtainCertificate } from './issuer.ts';
import type { Ca, Solver } from './issuer.ts';
import { AcmeProblem } from './acme_session.ts';
import type { PublicPorts } from './preflight/context.ts';
import { runPreflight } from './preflight/preflight.ts';
import { nextAttemptAt, renewAt } from './renewal.ts';
import { createCertificateStore, issuerSlug } from './store.ts';
import type { Attempts } from './store.ts';
import type { AcmeConfig, IssuerConfig, SiteConfig } from '../config/config.ts';
import { sleep } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';
import type { CertificateEntry, CertificatesPart } from '../snapshot.ts';

/** Clocks jump and machines sleep: what is due is looked up anew at least this often. */
const MAX_SLEEP_MS = 60_000;
const INTERNAL = 'internal';

export interface RenewerOptions {
  readonly sites: readonly SiteConfig[];
  readonly acme: AcmeConfig | null;
  readonly stateDirectory: string;
  readonly solver: Solver;
  /** As the configuration says now. */
  readonly ports: () => PublicPorts;
  /** Resolves when every proxy serves by it. */
  readonly publish: (certificates: readonly CertificateEntry[], pending: CertificatesPart['pending']) => Promise<void>;
  readonly log: Logger;
}

export interface RenewOptions {
  /** None: all. */
  readonly names: readonly string[];
  readonly force: boolean;
}

export interface DryRunRequest {
  readonly names: readonly string[];
  /** Directory URL, `staging` (as configured) or `production`. */
  readonly ca: string;
  readonly preflightOnly: boolean;
  readonly timeoutMs: number;
}

export interface CertificateStatus {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly mode: 'acme' | 'internal' | 'files';
  readonly issuer: string;
  readonly serial: string | null;
  /** Milliseconds since the epoch; null without a certificate. */
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  readonly renewAt: number | null;
  readonly lastError: string | null;
  /** After a failure. */
  readonly nextAttemptAt: number | null;
}

export interface Renewer {
  /** Publishes what is stored and, with `issue`, what the internal CA can add. */
  load(options: { readonly issue: boolean }): Promise<void>;
  /** Begins to renew by itself. */
  start(): void;
  /** Other sites from now on; certificates that are still wanted stay. */
  setSites(sites: readonly SiteConfig[], acme: AcmeConfig | null): Promise<void>;
  renew(options: RenewOptions): Promise<RenewalReport>;
  /** Leaves nothing. Rejects with the reason of `signal`, when all that was armed is disarmed. */
  dryRun(request: DryRunRequest, signal: AbortSignal): Promise<DryRunReport>;
  status(): readonly CertificateStatus[];
  /** Path of the internal CA's root certificate; null when no site needs it. */
  internalRoot(): string | null;
  stop(): void;
}

/** One certificate that is to be there. */
interface Managed {
  readonly mode: CertificateStatus['mode'];
  /** What operators call it: its first host. */
  readonly name: string;
  readonly hosts: readonly string[];
  readonly issuer: string;
  readonly files: { readonly certificate: string; readonly key: string } | null;
  certificate: Certificate | null;
  attempts: Attempts | null;
  /** Of the files, when they were read. */
  readAtMtime: number;
}

export function createRenewer(options: RenewerOptions): Renewer {
  const { log, solver, stateDirectory } = options;
  const store = createCertificateStore(stateDirectory);
  const stopping = new AbortController();
  let { acme } = options;
  let managed: readonly Managed[] = [];
  let wake = new AbortController();
  /** One at a time, whoever asks. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
    const turn = last.then(run);
    last = turn.catch(() => {});
    return turn;
  };

  const publish = (): Promise<void> => {
    const certificates: CertificateEntry[] = [];
    const pending: Record<string, string> = {};
    for (const { name, mode, hosts, certificate, attempts } of managed) {
      if (certificate !== null) {
        const { chain, key, serial } = certificate;
        certificates.push({ id: `${mode}/${name}/${serial}`, names: hosts, certificate: chain, key });
        continue;
      }
      const reason =
        attempts === null
          ? 'the certificate is being obtained'
          : `there is no certificate yet: ${attempts.error}; next attempt at ${new Date(nextAt(attempts, name)).toISOString()}`;
      for (const host of hosts) pending[host] = reason;
    }
    return options.publish(certificates, pending);
  };

  const nextAt = (attempts: Attempts, name: string): number => nextAttemptAt({ name, certificate: null, ...attempts });

  const dueAt = ({ name, certificate, attempts, mode }: Managed): number =>
    mode === 'files'
      ? Infinity
      : nextAttemptAt({
          name,
          certificate,
          failures: attempts?.failures ?? 0,
          lastAttemptAt: attempts?.lastAttemptAt ?? null,
          notBeforeByCa: attempts?.notBeforeByCa ?? null,
        });

  const firstIssuer = (): IssuerConfig => {
    const issuer = acme?.issuers[0];
    if (issuer === undefined) throw new Error('no CA is configured');
    return issuer;
  };
  const ca = (directoryUrl = firstIssuer().ca): Ca => {
    return { directoryUrl, trustedRoots: firstIssuer().trustedRoots, email: acme?.email ?? null };
  };

  const want = (sites: readonly SiteConfig[]): Managed[] =>
    sites.flatMap(({ name, hosts, tls }): Managed[] => {
      const blank = { certificate: null, attempts: null, readAtMtime: 0, files: null };
      switch (tls.mode) {
        case 'off':
          return [];
        case 'files':
          return [{ ...blank, mode: 'files', name, hosts, issuer: 'files', files: tls }];
        case 'internal':
          return [{ ...blank, mode: 'internal', name, hosts, issuer: INTERNAL }];
        case 'acme': {
          // One certificate per name: a name that cannot be validated holds up no other.
          const issuer = issuerSlug(ca().directoryUrl);
          return hosts.map((host) => ({ ...blank, mode: 'acme', name: host, hosts: [host], issuer }));
        }
      }
    });

  const setWanted = (sites: readonly SiteConfig[]): void => {
    const before = managed;
    managed = want(sites).map((wanted) => {
      const kept = before.find(
        ({ mode, name, issuer, hosts }) =>
          mode === wanted.mode &&
          name === wanted.name &&
          issuer === wanted.issuer &&
          hosts.join() === wanted.hosts.join(),
      );
      return kept !== undefined && kept.mode !== 'files' ? kept : wanted;
    });
    for (const item of managed) if (item.certificate === null) read(item);
  };

  /** What is already there. */
  const read = (item: Managed): void => {
    if (item.files !== null) return readFiles(item, item.files);
    const { certificate, problems } = store.load(item.issuer, item.name);
    for (const problem of problems) log.warn('certificate_damaged', { name: item.name, problem });
    item.attempts = store.loadAttempts(item.issuer, item.name);
    const covers = certificate !== null && item.hosts.every((host) => certificate.names.includes(host));
    item.certificate = covers && certificate.notAfter > Date.now() ? certificate : null;
  };

  const issueMissing = (): void => {
    for (const item of managed) if (item.mode === 'internal' && item.certificate === null) issueInternal(item);
  };

  const readFiles = (item: Managed, files: { readonly certificate: string; readonly key: string }): void => {
    try {
      item.readAtMtime = mtimeOf(files);
      item.certificate = parseCertificate(readFileSync(files.certificate, 'utf8'), readFileSync(files.key, 'utf8'));
      item.attempts = null;
    } catch (error) {
      log.error('certificate_unusable', { name: item.name, certificate: files.certificate, error });
      const error_ = describeError(error);
      item.attempts = { failures: 1, lastAttemptAt: Date.now(), error: error_, notBeforeByCa: null };
    }
  };

  const issueInternal = (item: Managed): void => {
    try {
      const now = Date.now();
      const certificate = openInternalCa(store, now).issue(item.hosts, now);
      store.save(item.issuer, item.name, certificate);
      item.certificate = certificate;
      item.attempts = null;
      log.info('certificate_issued', { name: item.name, issuer: INTERNAL, serial: certificate.serial });
    } catch (error) {
      item.attempts = failed(item, error);
      log.error('certificate_failed', { name: item.name, issuer: INTERNAL, error });
    }
  };

  const failed = ({ attempts }: Managed, error: unknown): Attempts => ({
    failures: (attempts?.failures ?? 0) + 1,
    lastAttemptAt: Date.now(),
    error: describeError(error),
    notBeforeByCa: error instanceof AcmeProblem ? error.retryAt : null,
  });

  const order = async (item: Managed): Promise<RenewalResult> => {
    const { name, issuer } = item;
    const started = Date.now();
    try {
      store.checkWritable();
      const certificate = await store.withLock(async () => {
        const obtained = await obtainCertificate({ ca: ca(), name, solver, signal: stopping.signal, store });
        store.save(issuer, name, obtained);
        store.saveAttempts(issuer, name, null);
        return obtained;
      });
      item.certificate = certificate;
      item.attempts = null;
      const { serial, notAfter } = certificate;
      log.info('certificate_obtained', { name, issuer, serial, duration_ms: Date.now() - started });
      await publish();
      return { name, outcome: 'renewed', code: 0, serial, notAfter: new Date(notAfter).toISOString() };
    } catch (error) {
      if (stopping.signal.aborted) return { name, outcome: 'failed', code: 1, reason: 'the program is stopping' };
      item.attempts = failed(item, error);
      log.error('certificate_failed', { name, issuer, code: codeOf(error), error });
      try {
        store.saveAttempts(issuer, name, item.attempts);
      } catch (problem) {
        log.warn('attempts_not_kept', { name, error: problem });
      }
      await publish();
      return { name, outcome: 'failed', code: codeOf(error), reason: describeError(error) };
    }
  };

  const tryAll = (items: readonly Managed[], request: DryRunRequest, signal: AbortSignal): Promise<DryRunReport> => {
    const { preflightOnly, timeoutMs } = request;
    const wanted = items.map(({ name, hosts, mode, certificate }) => ({
      name,
      hosts,
      mode,
      real: certificate && {
        notAfter: certificate.notAfter,
        renewAt: mode === 'files' ? null : renewAt(name, certificate),
        window: null,
      },
    }));
    if (acme === null) {
      const none = (): never => {
        throw new Error('no CA is configured');
      };
      return dryRun({ ...request, certificates: wanted, challenges: [], preflight: none, trial: none, signal });
    }
    const configured = acme;
    const issuer = firstIssuer();
    const directoryUrl =
      request.ca === 'staging' ? issuer.testCa : request.ca === 'production' ? issuer.ca : request.ca;
    return dryRun({
      certificates: wanted,
      ca: directoryUrl,
      challenges: ['http-01'],
      preflight: (certificates, signal) =>
        runPreflight({
          certificates,
          acme: configured,
          issuer,
          directoryUrl,
          accountUrl: null,
          agreedTerms: null,
          ports: options.ports(),
          armProbe: async (token, value) => {
            await solver.arm(token, value);
            return () => solver.disarm(token);
          },
          stateDirectory,
          ledger: null,
          signal,
        }),
      trial: async ({ name }, signal) => {
        await obtainCertificate({ ca: ca(directoryUrl), name, solver, signal, store: null });
        return { code: 0, challenge: 'http-01' };
      },
      preflightOnly,
      timeoutMs,
      signal,
    });
  };

  /** What operators mean by the names they give; none means everything. */
  const select = (
    names: readonly string[],
  ): { readonly items: readonly Managed[]; readonly unknown: readonly string[] } => {
    const means = ({ name, hosts }: Managed, given: string): boolean => name === given || hosts.includes(given);
    return {
      items: names.length === 0 ? managed : managed.filter((item) => names.some((given) => means(item, given))),
      unknown: names.filter((given) => !managed.some((item) => means(item, given))),
    };
  };
  const unknownName = (name: string): RenewalResult & { outcome: 'failed'; reason: string } => {
    const known = managed.map((item) => item.name).join(', ');
    const reason = `there is no certificate of this name; there are: ${known}`;
    return { name, outcome: 'failed', code: 1, reason };
  };

  const renewOne = async (item: Managed, { force }: RenewOptions): Promise<RenewalResult> => {
    const { name, mode, certificate } = item;
    // Pauses after failures are for the loop: whoever asks may have mended the cause.
    const due = certificate === null || renewAt(name, certificate) <= Date.now();
    if (!force && !due) return { name, outcome: 'not_due', code: 0 };
    if (mode === 'acme') return order(item);
    read(item);
    if (mode === 'internal') issueInternal(item);
    await publish();
    if (item.attempts !== null) return { name, outcome: 'failed', code: 7, reason: item.attempts.error };
    return { name, outcome: 'renewed', code: 0, serial: item.certificate?.serial ?? '' };
  };

  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      for (const item of managed) {
        if (item.files !== null && mtimeOf(item.files) !== item.readAtMtime) {
          readFiles(item, item.files);
          await publish();
        }
        if (stopping.signal.aborted || dueAt(item) > Date.now()) continue;
        // Asked again in its turn: somebody may have renewed it meanwhile.
        await inTurn(async () => {
          if (managed.includes(item) && dueAt(item) <= Date.now()) {
            await renewOne(item, { names: [], force: false });
          }
        });
      }
      const next = Math.min(...managed.map(dueAt), Date.now() + MAX_SLEEP_MS);
      await sleep(next - Date.now(), AbortSignal.any([stopping.signal, wake.signal]));
      if (wake.signal.aborted) wake = new AbortController();
    }
  };

  return {
    load: ({ issue }) => {
      setWanted(options.sites);
      if (issue) issueMissing();
      return publish();
    },
    start: () => void loop(),
    setSites: async (sites, nextAcme) => {
      acme = nextAcme;
      setWanted(sites);
      issueMissing();
      await publish();
      wake.abort();
    },
    renew: (request) =>
      inTurn(async () => {
        const { items, unknown } = select(request.names);
        const results: RenewalResult[] = unknown.map(unknownName);
        for (const item of items) results.push(await renewOne(item, request));
        return { results, exitCode: exitCodeOf(results) };
      }),
    // Not in turn: it changes nothing, and a renewal that takes long is when operators want to know.
    dryRun: async (request, signal) => {
      const { items, unknown } = select(request.names);
      const report = await tryAll(items, request, AbortSignal.any([signal, stopping.signal]));
      const blank = { hosts: [], ca: null, challenge: null, trial: null, real: null } as const;
      const preflight = { level: 'fail', findings: [] } as const;
      const strangers = unknown.map((name) => ({ ...blank, preflight, ...unknownName(name) }));
      const results = [...strangers, ...report.results];
      return { ...report, results, exitCode: exitCodeOf(results) };
    },
    status: () =>
      managed.map((item) => {
        const { name, hosts, mode, issuer, certificate, attempts } = item;
        return {
          name,
          hosts,
          mode,
          issuer,
          serial: certificate?.serial ?? null,
          notBefore: certificate?.notBefore ?? null,
          notAfter: certificate?.notAfter ?? null,
          renewAt: certificate === null || mode === 'files' ? null : renewAt(name, certificate),
          lastError: attempts?.error ?? null,
          nextAttemptAt: attempts === null || mode === 'files' ? null : dueAt(item),
        };
      }),
    internalRoot: () => (managed.some(({ mode }) => mode === 'internal') ? path.join(stateDirectory, ROOT_FILE) : null),
    stop: () => stopping.abort(),
  };
}

/** The newer of the two; 0 when one is missing. */
function mtimeOf(files: { readonly certificate: string; readonly key: string }): number {
  const times = [files.certificate, files.key].map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return times.includes(0) ? 0 : Math.max(...times);
}
