/** Certificates of the CAs that are configured: which one is asked, and what is remembered of how that went. */
import { classify } from '../acme/failure.ts';
import { certificateId } from '../acme/certificate_id.ts';
import type { IssuedMeta, Issuer, ObtainRequest } from '../acme/issuer.ts';
import type { Certificate } from '../certificate.ts';
import type { RenewalResult } from '../outcome.ts';
import { createSlots } from '../../pace.ts';
import { covers, decide, wishOf } from '../renewal.ts';
import type { AriRecord, Attempts, Decision, Held, Wanted } from '../renewal.ts';
import { parseState } from './acme_state.ts';
import type { AcmeState } from './acme_state.ts';
import type { Managed, RenewRequest, Source } from './source.ts';
import { IMPORTED, issuerSlug } from '../storage/keys.ts';
import type { CertificateMeta, CertificateStore } from '../store.ts';
import type { AcmeConfig, IssuerConfig } from '../../config/config.ts';
import { describeError } from '../../log.ts';
import type { Logger } from '../../log.ts';

const ORDERS_AT_ONCE = 4;
/** The next CA is asked when the first has failed so often, and so little of the life is left. */
const FALLBACK_AFTER_FAILURES = 3;
const FALLBACK_BELOW_SHARE = 1 / 6;
/** A clock that is off by more is not believed: what expires is judged by the CA's. */
const MAX_SKEW_MS = 3_600_000;

export interface AcmeSourceOptions {
  /** As configured now; null: no CA may be asked. */
  readonly acme: () => AcmeConfig | null;
  readonly issuer: () => Issuer;
  readonly store: CertificateStore;
  /** Why nothing should be ordered into this storage; null: it lasts. */
  readonly ephemeral: string | null;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface AcmeSource extends Source {
  /** Asks the CA when it wants the certificate to be renewed; never rejects. */
  askCa(item: Managed): Promise<void>;
  /** What is ordered for it, from that CA. */
  requestFor(
    item: Managed,
    acme: AcmeConfig,
    issuer: IssuerConfig,
  ): Omit<ObtainRequest, 'stillNeeded' | 'install' | 'signal'>;
}

export function createAcmeSource(options: AcmeSourceOptions): AcmeSource {
  const { store, log, signal } = options;
  const slot = createSlots(ORDERS_AT_ONCE);
  /** Generations that were current when they were read. */
  const seen = new WeakMap<Managed, string>();
  const ariFailures = new WeakMap<Managed, number>();

  const wantedOf = ({ hosts }: Managed): Wanted => {
    const acme = options.acme();
    return {
      names: hosts,
      keyType: acme?.keyType ?? '',
      profile: acme?.issuers[0]?.profile ?? null,
      issuers: acme?.issuers.map(({ ca }) => ca) ?? [],
    };
  };

  /** Where its certificate may lie, best first. */
  const placesOf = (): string[] => [...(options.acme()?.issuers ?? []).map(({ ca }) => issuerSlug(ca)), IMPORTED];
  const stateAt = (): string => placesOf()[0] ?? IMPORTED;

  const generations = async (item: Managed): Promise<string> =>
    (await Promise.all(placesOf().map((slug) => store.generation(slug, item.name)))).join();

  const adopt = (item: Managed, certificate: Certificate | null, order: Held['order']): void => {
    if (certificate?.serial !== item.certificate?.serial) {
      item.ari = null;
      item.ariPollAt = certificate === null || order === null ? Infinity : 0;
    }
    item.certificate = certificate;
    item.order = order;
  };

  const load = async (item: Managed): Promise<void> => {
    const { name, hosts } = item;
    seen.set(item, await generations(item));
    // Another CA's, from before the configuration changed, serves until there is one of the right kind.
    const others = (await store.storage.list('certificates')).filter((slug) => !placesOf().includes(slug));
    const found: { readonly certificate: Certificate; readonly order: Held['order']; readonly rank: number }[] = [];
    for (const [place, slug] of [...placesOf(), ...others].entries()) {
      if (slug === 'internal') continue;
      const { certificate, meta, problems } = await store.load(slug, name);
      for (const problem of problems) log.warn('certificate_damaged', { name, problem });
      if (certificate === null) continue;
      const order = meta === null ? null : { issuer: meta.ca, profile: meta.profile, keyType: meta.keyType };
      const valid = certificate.notAfter > Date.now();
      const whole = hosts.every((host) => certificate.names.some((has) => covers(has, host)));
      // Valid and whole before all; then what this configuration would have ordered; then what lasts longest.
      const rank = (valid ? 4 : 0) + (whole ? 2 : 0) + (place < placesOf().length ? 1 : 0);
      found.push({ certificate, order, rank });
    }
    const [best] = found.toSorted((a, b) => b.rank - a.rank || b.certificate.notAfter - a.certificate.notAfter);
    adopt(item, best?.certificate ?? null, best?.order ?? null);
    const state = parseState(await store.loadState(stateAt(), name));
    item.attempts = state.attempts;
    if (state.ari !== null && state.serial === item.certificate?.serial) {
      item.ari = state.ari;
      item.ariPollAt = state.ariPollAt;
    }
  };

  const heldOf = ({ certificate, order }: Managed): Held | null =>
    certificate === null ? null : { ...certificate, order };

  const decideNow = (item: Managed, now: number): Decision => {
    const { ari, attempts, order } = item;
    const issuer = options.acme()?.issuers.find(({ ca }) => ca === order?.issuer);
    const skewMs = issuer === undefined ? 0 : (options.issuer().clockSkewMs(issuer) ?? 0);
    const theirs = Math.abs(skewMs) > MAX_SKEW_MS ? skewMs : 0;
    const decision = decide({ now: now + theirs, wanted: wantedOf(item), held: heldOf(item), ari, attempts });
    return { ...decision, dueAt: decision.dueAt - theirs, attemptAt: decision.attemptAt - theirs };
  };

  const saveState = async (item: Managed): Promise<void> => {
    const { attempts, ari, ariPollAt, certificate } = item;
    const state: AcmeState = { attempts, ari, ariPollAt, serial: certificate?.serial ?? null };
    try {
      await store.saveState(stateAt(), item.name, { ...state });
    } catch (error) {
      log.warn('renewal_state_not_kept', { name: item.name, error });
    }
  };

  const requestFor: AcmeSource['requestFor'] = (item, acme, issuer) => {
    const { certificate, order, name, hosts } = item;
    const theirs = certificate !== null && order?.issuer === issuer.ca;
    const certId = theirs ? certificateId(certificate.chain) : null;
    return {
      name,
      hosts,
      issuer,
      email: acme.email,
      challenges: acme.challenges,
      keyType: acme.keyType,
      reuseKey: acme.reuseKey && theirs ? certificate.key : null,
      replaces: certId === null ? null : { ca: issuer.ca, certId },
      currentSerial: certificate?.serial ?? null,
      exempt: false,
      force: false,
      lifeMs: certificate === null ? null : certificate.notAfter - certificate.notBefore,
    };
  };

  const obtain = async (item: Managed, request: RenewRequest): Promise<RenewalResult> => {
    const { name } = item;
    const acme = options.acme();
    const issuer = acme === null ? undefined : chooseIssuer(acme.issuers, item, Date.now());
    if (acme === null || issuer === undefined) throw new Error('no CA is configured');
    if (options.ephemeral !== null && isPublic(issuer)) throw new EphemeralError(options.ephemeral);
    const before = item.certificate;
    const begun = Date.now();
    const decision = decideNow(item, begun);
    const ordered = requestFor(item, acme, issuer);
    const { outcome, ...got } = await options.issuer().obtain({
      ...ordered,
      reuseKey: request.freshKey === true ? null : ordered.reuseKey,
      exempt: decision.exempt,
      // What the CA itself asks for is no loop of ours, also after its window.
      force: request.force || decision.reason === 'ari',
      signal,
      stillNeeded: async () => {
        await load(item);
        if (request.force || item.certificate === null) return true;
        return item.certificate.serial === before?.serial || decideNow(item, Date.now()).dueAt <= Date.now();
      },
      install: (certificate, about) => store.save(issuerSlug(issuer.ca), name, certificate, metaOf(about)),
    });
    if (outcome === 'obtained' && 'certificate' in got) {
      const { certificate, about, notKept } = got;
      adopt(item, certificate, { issuer: about.ca, profile: about.profile, keyType: about.keyType });
      if (notKept !== null) log.error('certificate_not_kept', { name, error: notKept });
    }
    seen.set(item, await generations(item));
    item.attempts = null;
    await saveState(item);
    const { serial = '', notAfter = 0 } = item.certificate ?? {};
    const durationMs = Date.now() - begun;
    return { name, outcome: 'renewed', code: 0, serial, notAfter: new Date(notAfter).toISOString(), durationMs };
  };

  return {
    load: async (item) => {
      try {
        await load(item);
      } catch (error) {
        // Not the same as having none: what was known goes on to be served.
        log.error('certificate_not_read', { name: item.name, error });
        item.attempts ??= attemptOf(item, error, wishOf(wantedOf(item)));
      }
    },
    changed: async (item) => {
      try {
        const now = await generations(item);
        return seen.has(item) && now !== seen.get(item);
      } catch {
        return false;
      }
    },
    decide: decideNow,
    renew: (item, request) =>
      slot(async () => {
        const { name } = item;
        try {
          signal.throwIfAborted();
          return await obtain(item, request);
        } catch (error) {
          if (signal.aborted) return { name, outcome: 'failed', code: 1, reason: 'the program is stopping' };
          item.attempts = attemptOf(item, error, wishOf(wantedOf(item)));
          await saveState(item);
          const { code, error: reason } = item.attempts;
          return { name, outcome: 'failed', code: codeOf(code), reason };
        }
      }),
    askCa: async (item) => {
      const { certificate, order } = item;
      const issuer = options.acme()?.issuers.find(({ ca }) => ca === order?.issuer);
      const certId = certificate === null ? null : certificateId(certificate.chain);
      if (certificate === null || issuer === undefined || certId === null) return void (item.ariPollAt = Infinity);
      const query = { certId, notAfter: certificate.notAfter, failures: ariFailures.get(item) ?? 0 };
      try {
        const info = await options.issuer().renewalInfo(issuer, query, signal);
        // Replaced while it was asked about.
        if (item.certificate !== certificate) return;
        if (info === null) return void (item.ariPollAt = Infinity);
        ariFailures.set(item, info.failures);
        item.ariPollAt = info.nextPollAt;
        const { window, selectedTime, explanationUrl, problem } = info;
        if (window === null || selectedTime === null) {
          log.warn('ari_unusable', { name: item.name, ca: issuer.ca, problem });
          return await saveState(item);
        }
        const next: AriRecord = { certId, ...window, selectedAt: selectedTime, explanationUrl };
        tellMoved(item, next, log);
        item.ari = next;
        await saveState(item);
      } catch (error) {
        if (!signal.aborted) log.warn('ari_failed', { name: item.name, error });
      }
    },
    requestFor,
  };
}

/** The storage ends with its container: certificates would be ordered again and again. */
export class EphemeralError extends Error {
  constructor(reason: string) {
    super(`${reason}: give the state folder a volume, or set storage.allow_ephemeral: true`);
  }
}

function tellMoved({ name, ari }: Managed, next: AriRecord, log: Logger): void {
  if (ari !== null && ari.start === next.start && ari.end === next.end) return;
  const fields = { name, start: new Date(next.start).toISOString(), end: new Date(next.end).toISOString() };
  if (ari === null && next.explanationUrl === null) log.info('ari_window', fields);
  else log.warn('ari_window_moved', { ...fields, explanation_url: next.explanationUrl });
}

/** The first, unless it failed often and time runs out: then they take turns. */
export function chooseIssuer(issuers: readonly IssuerConfig[], item: Managed, now: number): IssuerConfig | undefined {
  const { attempts, certificate } = item;
  const failures = attempts?.failures ?? 0;
  if (failures < FALLBACK_AFTER_FAILURES) return issuers[0];
  if (certificate !== null) {
    const { notBefore, notAfter } = certificate;
    if ((notAfter - now) / (notAfter - notBefore) > FALLBACK_BELOW_SHARE) return issuers[0];
  }
  return issuers[(failures - FALLBACK_AFTER_FAILURES + 1) % issuers.length];
}

function attemptOf({ attempts }: Managed, error: unknown, wish: string): Attempts {
  const ephemeral = error instanceof EphemeralError;
  const { retryAt, needsOperator, code } = classify(error);
  return {
    failures: (attempts?.wish === wish ? attempts.failures : 0) + 1,
    lastAttemptAt: Date.now(),
    error: describeError(error),
    code: ephemeral ? 7 : code,
    retryAt,
    needsOperator: ephemeral || needsOperator,
    wish,
  };
}

function codeOf(code: number): RenewalResult['code'] {
  return code === 4 || code === 5 || code === 6 || code === 7 ? code : 1;
}

/** Not a CA of the operator's own, and not one for tests. */
function isPublic({ ca, trustedRoots }: IssuerConfig): boolean {
  return trustedRoots.length === 0 && !new URL(ca).host.includes('staging');
}

function metaOf({ ca, orderUrl, profile, keyType, certId, obtainedAt }: IssuedMeta): CertificateMeta {
  return { ca, orderUrl, profile, keyType, certId, obtainedAt };
}
