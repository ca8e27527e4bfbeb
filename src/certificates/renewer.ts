/**
 * Every site's certificate: taken up, issued or ordered, renewed in time, and published as soon as it is there. Nothing
 * here waits for a CA before something else is served, and a failed renewal takes nothing away.
 */
import path from 'node:path';
import { describeEvent } from './events.ts';
import type { CertificateEvent } from './events.ts';
import { ROOT_FILE } from './internal_ca.ts';
import { exitCodeOf } from './outcome.ts';
import type { RenewalReport, RenewalResult } from './outcome.ts';
import { coalesce, createSlots } from '../pace.ts';
import { alarmLevel, covers } from './renewal.ts';
import type { AlarmLevel, AriRecord, Decision } from './renewal.ts';
import type { Managed, RenewRequest, Source } from './sources/source.ts';
import type { SiteConfig } from '../config/config.ts';
import { persist, tellDefect } from '../defects.ts';
import { sleep } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';
import type { CertificateEntry, CertificatesPart } from '../snapshot.ts';

/** Clocks jump and machines sleep: what is due is looked up anew at least this often. */
const MAX_SLEEP_MS = 60_000;
/** What is served is compared with what should be, after each change and so often. */
const SERVED_CHECK_MS = 3_600_000;
/** By so many connections at once. */
const SERVED_CHECKS = 4;
/** How often it is looked whether somebody else put a certificate in place of ours; each of many costs a little. */
const LOOK_MS = 2_000;
const LOOK_MS_EACH = 2;

/** Before what threw, which no renewal should, is tried again. */
const BROKEN_MS = 60_000;

export interface RenewerOptions {
  readonly sites: readonly SiteConfig[];
  readonly sources: Readonly<Record<Managed['mode'], Source>>;
  /** Asks the CA about a certificate it issued; sets `ari` and `ariPollAt`. */
  readonly askCa: (item: Managed) => Promise<void>;
  /** Resolves when every proxy serves by it. */
  readonly publish: (certificates: readonly CertificateEntry[], pending: CertificatesPart['pending']) => Promise<void>;
  /** What a client is shown for a name now; null: the handshake failed; undefined: no way to look. */
  readonly servedLeaf: (name: string) => Promise<ServedLeaf | null | undefined>;
  /** Told of what an operator would want to know. */
  readonly onEvent: (event: CertificateEvent) => void;
  readonly stateDirectory: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface ServedLeaf {
  /** Hexadecimal. */
  readonly serial: string;
  readonly notAfter: number;
}

export interface RenewOptions {
  /** None: all. */
  readonly names: readonly string[];
  readonly force: boolean;
}

export interface CertificateStatus {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly mode: Managed['mode'];
  /** Directory URL of the CA that issued it; null for none, files and imported ones. */
  readonly issuer: string | null;
  readonly serial: string | null;
  /** Milliseconds since the epoch; null without a certificate. */
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  /** When it is due, and why then. */
  readonly decision: Decision | null;
  readonly ari: AriRecord | null;
  readonly alarm: AlarmLevel;
  readonly lastError: string | null;
  readonly needsOperator: boolean;
  /** After a failure. */
  readonly nextAttemptAt: number | null;
  /** What a client was shown when it was last looked; null: not looked yet, or nothing. */
  readonly servedSerial: string | null;
  readonly servedNotAfter: number | null;
  readonly servedAt: number | null;
}

export interface Renewer {
  /** Publishes what is stored and, with `issue`, what our own CA can add. */
  load(options: { readonly issue: boolean }): Promise<void>;
  /** Begins to renew by itself. */
  start(): void;
  /** Other sites from now on; certificates that are still wanted stay. */
  setSites(sites: readonly SiteConfig[]): Promise<void>;
  /** Takes up what was put into the storage by others. */
  reload(): Promise<void>;
  renew(options: RenewOptions): Promise<RenewalReport>;
  /** What operators mean by the names they give: a certificate's, or a host's; none means everything. */
  select(names: readonly string[]): {
    readonly items: readonly Managed[];
    readonly unknown: readonly (RenewalResult & { readonly outcome: 'failed'; readonly reason: string })[];
  };
  status(): readonly CertificateStatus[];
  /** The one of that name or host. */
  find(name: string): Managed | undefined;
  /** Renews it with a key nobody has seen. */
  replace(item: Managed): Promise<RenewalResult>;
  /** Path of the internal CA's root certificate; null when no site needs it. */
  internalRoot(): string | null;
}

interface Watched extends Managed {
  busy: Promise<RenewalResult> | null;
  /** A renewal that threw has no pause of its own. */
  brokenUntil: number;
  alarm: AlarmLevel;
  served: { readonly leaf: ServedLeaf | null; readonly at: number } | null;
}

export function createRenewer(options: RenewerOptions): Renewer {
  const { log, sources, signal } = options;
  let managed: readonly Watched[] = [];
  let wake = new AbortController();
  let lookedAt = 0;
  const look = createSlots(SERVED_CHECKS);

  const decide = (item: Managed, now: number): Decision => sources[item.mode].decide(item, now);

  const publish = coalesce(() => {
    const certificates: CertificateEntry[] = [];
    const pending: Record<string, string> = {};
    const now = Date.now();
    for (const item of managed) {
      const { name, mode, hosts, certificate } = item;
      // After a change of names the old one serves those it has until the new one is there.
      const served =
        certificate === null ? [] : hosts.filter((host) => certificate.names.some((has) => covers(has, host)));
      if (certificate !== null) {
        const { chain, key, serial } = certificate;
        certificates.push({ id: `${mode}/${name}/${serial}`, names: served, certificate: chain, key });
      }
      for (const host of hosts) if (!served.includes(host)) pending[host] = whyPending(item, now);
    }
    return options.publish(certificates, pending);
  });

  const whyPending = (item: Managed, now: number): string => {
    if (item.attempts === null) return 'the certificate is being obtained';
    const { attemptAt } = decide(item, now);
    // Files are read again when they change.
    const next = Number.isFinite(attemptAt) ? `; next attempt at ${new Date(attemptAt).toISOString()}` : '';
    return `there is no certificate yet: ${item.attempts.error}${next}`;
  };

  const tell = (event: CertificateEvent): void => {
    const { level, name, fields } = describeEvent(event);
    log[level](name, fields);
    options.onEvent(event);
  };

  const load = (item: Watched): Promise<void> => sources[item.mode].load(item);

  const want = (sites: readonly SiteConfig[]): Watched[] =>
    sites.flatMap(({ name, hosts, tls }): Watched[] => {
      if (tls.mode === 'off') return [];
      const known = { certificate: null, order: null, attempts: null, ari: null, ariPollAt: 0 };
      const files = tls.mode === 'files' ? tls : null;
      return [
        { mode: tls.mode, name, hosts, files, ...known, busy: null, brokenUntil: 0, alarm: 'none', served: null },
      ];
    });

  const setWanted = async (sites: readonly SiteConfig[]): Promise<void> => {
    const key = ({ mode, name, hosts, files }: Managed): string => JSON.stringify([mode, name, hosts, files]);
    const before = new Map(managed.map((item) => [key(item), item]));
    const next = want(sites).map((item) => before.get(key(item)) ?? item);
    await Promise.all(next.filter((item) => !before.has(key(item))).map(load));
    managed = next;
  };

  const issueMissing = async (): Promise<void> => {
    for (const item of managed) {
      if (item.mode === 'internal' && decide(item, Date.now()).attemptAt <= Date.now()) {
        await sources.internal.renew(item, { force: false });
      }
    }
  };

  /** Joins a renewal that is going on. */
  const renewOne = (item: Watched, request: RenewRequest): Promise<RenewalResult> =>
    (item.busy ??= sources[item.mode]
      .renew(item, request)
      .then(async (result) => {
        if (result.outcome === 'renewed') {
          item.alarm = 'none';
          if (item.mode === 'acme') tell({ type: 'obtained', item, durationMs: result.durationMs ?? 0 });
        } else if (result.outcome === 'failed' && item.mode === 'acme') {
          tell({ type: 'failed', item, code: result.code, reason: result.reason ?? '' });
        }
        await publish();
        if (result.outcome === 'renewed') await checkServed(item);
        return result;
      })
      .catch((error: unknown): RenewalResult => {
        tellDefect(log, error);
        item.brokenUntil = Date.now() + BROKEN_MS;
        return { name: item.name, outcome: 'failed', code: 1, reason: describeError(error) };
      })
      .finally(() => {
        item.busy = null;
        wake.abort();
      }));

  /** A new certificate that is not served is the failure nobody sees: so it is looked at from outside. */
  const checkServed = async (item: Watched): Promise<void> => {
    const { certificate, hosts } = item;
    // A wildcard is met under some name.
    const [host] = hosts.map((name) => name.replace(/^\*\./, 'served-check.'));
    if (certificate === null || host === undefined || signal.aborted) return;
    const leaf = await options.servedLeaf(host);
    // Replaced while it was looked at: the next look decides.
    if (leaf === undefined || item.certificate !== certificate) return;
    item.served = { leaf, at: Date.now() };
    const serial = leaf?.serial ?? null;
    if (serial !== certificate.serial) tell({ type: 'not_served', item, served: serial });
  };

  const round = async (now: number): Promise<void> => {
    await takeUpChanged(now);
    for (const item of managed) {
      if (item.busy !== null || item.brokenUntil > now) continue;
      const { certificate, served } = item;
      if (decide(item, now).attemptAt <= now) {
        void renewOne(item, { force: false });
      } else if (certificate !== null && item.mode === 'acme' && item.ariPollAt <= now && certificate.notAfter > now) {
        void options.askCa(item).then(() => wake.abort());
        // Not again until it has said when.
        item.ariPollAt = now + MAX_SLEEP_MS;
      }
      if (certificate === null) continue;
      const alarm = alarmLevel(certificate, now);
      if (alarm !== item.alarm && alarm !== 'none') tell({ type: 'expiring', item, level: alarm });
      item.alarm = alarm;
      if ((served?.at ?? 0) < now - SERVED_CHECK_MS) {
        item.served = { leaf: served?.leaf ?? null, at: now };
        void look(() => checkServed(item));
      }
    }
  };

  const lookEveryMs = (): number => Math.min(MAX_SLEEP_MS, Math.max(LOOK_MS, managed.length * LOOK_MS_EACH));

  const takeUpChanged = async (now: number): Promise<void> => {
    if (now - lookedAt < lookEveryMs() && now >= lookedAt) return;
    lookedAt = now;
    let changed = false;
    for (const item of managed) {
      if (item.busy !== null || !(await sources[item.mode].changed(item))) continue;
      await load(item);
      changed = true;
      if (item.certificate !== null) tell({ type: 'taken_up', item });
    }
    if (changed) await publish();
  };

  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      wake = new AbortController();
      const now = Date.now();
      try {
        await round(now);
      } catch (error) {
        tellDefect(log, error);
      }
      let next = now + lookEveryMs();
      for (const item of managed) {
        if (item.busy !== null) continue;
        const wanted = Math.min(decide(item, now).attemptAt, item.mode === 'acme' ? item.ariPollAt : Infinity);
        next = Math.min(next, Math.max(wanted, item.brokenUntil));
      }
      await sleep(Math.max(next - Date.now(), 20), AbortSignal.any([signal, wake.signal]));
    }
  };

  const answer = async (item: Watched, { force }: RenewOptions): Promise<RenewalResult> => {
    // Pauses after failures are for the loop: whoever asks may have mended the cause.
    if (!force && decide(item, Date.now()).dueAt > Date.now()) return { name: item.name, outcome: 'not_due', code: 0 };
    return renewOne(item, { force });
  };

  const select = (names: readonly string[]) => {
    const means = ({ name, hosts }: Managed, given: string): boolean => name === given || hosts.includes(given);
    const known = managed.map(({ name }) => name).join(', ');
    const reason = `there is no certificate of this name; there are: ${known}`;
    return {
      items: names.length === 0 ? managed : managed.filter((item) => names.some((given) => means(item, given))),
      unknown: names
        .filter((given) => !managed.some((item) => means(item, given)))
        .map((name) => ({ name, outcome: 'failed', code: 1, reason }) as const),
    };
  };

  return {
    load: async ({ issue }) => {
      await setWanted(options.sites);
      if (issue) await issueMissing();
      await publish();
    },
    start: () => void persist(loop, log, signal),
    setSites: async (sites) => {
      await setWanted(sites);
      await issueMissing();
      await publish();
      wake.abort();
    },
    reload: async () => {
      await Promise.all(managed.map(load));
      await publish();
      wake.abort();
    },
    select,
    renew: async (request) => {
      const { items, unknown } = select(request.names);
      const results = [...unknown, ...(await Promise.all(items.map((item) => answer(item, request))))];
      return { results, exitCode: exitCodeOf(results) };
    },
    status: () => {
      const now = Date.now();
      return managed.map((item) => {
        const { name, hosts, mode, order, certificate, attempts, ari, served } = item;
        const decision = mode === 'files' ? null : decide(item, now);
        return {
          name,
          hosts,
          mode,
          issuer: order?.issuer ?? null,
          serial: certificate?.serial ?? null,
          notBefore: certificate?.notBefore ?? null,
          notAfter: certificate?.notAfter ?? null,
          decision: certificate === null ? null : decision,
          ari,
          alarm: certificate === null ? 'none' : alarmLevel(certificate, now),
          lastError: attempts?.error ?? null,
          needsOperator: attempts?.needsOperator ?? false,
          nextAttemptAt: attempts === null ? null : (decision?.attemptAt ?? null),
          servedSerial: served?.leaf?.serial ?? null,
          servedNotAfter: served?.leaf?.notAfter ?? null,
          servedAt: served?.at ?? null,
        };
      });
    },
    find: (name) => select([name]).items[0],
    replace: (item) => {
      const watched = managed.find((one) => one === item);
      if (watched === undefined) throw new Error(`${item.name} is not served`);
      return renewOne(watched, { force: true, freshKey: true });
    },
    internalRoot: () =>
      managed.some(({ mode }) => mode === 'internal') ? path.join(options.stateDirectory, ROOT_FILE) : null,
  };
}
