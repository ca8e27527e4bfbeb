/**
 * One order from intent to certificate (RFC 8555 section 7.4), each step that cannot be undone kept before it is taken.
 * Whoever finds a journal goes on where it ends: an order that was made is never made again.
 */
import net from 'node:net';
import { authorizeAll, sweep } from './authorize.ts';
import type { AuthorizeOptions } from './authorize.ts';
import { downloadChain } from './chain.ts';
import { AcmeProblem, AcmeTransportError, BudgetError, OrderError, ValidationError } from './errors.ts';
import type { ValidationFailure } from './errors.ts';
import type { Journal, JournalEntry } from './journal.ts';
import { createKey, createRequest } from './keys.ts';
import { poll } from './poll.ts';
import { parseOrder } from './resources.ts';
import type { Order } from './resources.ts';
import type { AcmeSession } from './session.ts';
import type { Answer } from './transport.ts';
import { parseCertificate } from '../certificate.ts';
import type { Certificate } from '../certificate.ts';
import type { Ledger } from '../ledger.ts';
import type { ChallengeType, Solver } from '../solvers/solver.ts';
import type { Lock } from '../storage/storage.ts';
import { verifyIssued } from '../verify.ts';
import type { IssuerConfig, KeyType } from '../../config/config.ts';
import type { Logger } from '../../log.ts';

/** An order that stays ready or processing for longer is left to the journal. */
const PROCESSING_TIMEOUT_MS = 120_000;

/** No CA is known to keep one for longer; what an older one gave may have expired. */
const ORDER_LIFE_MS = 7 * 86_400_000;

export interface OrderContext {
  readonly session: AcmeSession;
  readonly journal: Journal;
  readonly lock: Lock;
  readonly ledger: Ledger;
  readonly solvers: readonly Solver[];
  readonly issuer: IssuerConfig;
  readonly names: readonly string[];
  readonly profile: string | null;
  readonly keyType: KeyType;
  readonly reuseKey: string | null;
  readonly replaces: string | null;
  readonly exempt: boolean;
  readonly force: boolean;
  readonly lifeMs: number | null;
  readonly challenges: readonly ChallengeType[];
  /** Of the certificate in use: what an order has already given. */
  readonly currentSerial: string | null;
  /** The CA's, in milliseconds since the epoch. */
  readonly now: () => number;
  readonly processingTimeoutMs?: number | undefined;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

export interface Issued {
  readonly certificate: Certificate;
  readonly orderUrl: string;
  /** How control was shown, by name; names the CA still knew are missing. */
  readonly solved: Readonly<Record<string, ChallengeType>>;
}

interface Begun {
  readonly entry: JournalEntry;
  readonly key: string;
}

/** The journal stays until the caller has installed what this resolves with. */
export async function fulfil(context: OrderContext): Promise<Issued> {
  const { journal, log, session } = context;
  const failed = new Map<string, Set<ChallengeType>>();
  const failures = new Map<string, ValidationFailure>();
  const solved: Record<string, ChallengeType> = {};
  let begun = await resumable(context);
  for (;;) {
    const { placed, order } = await place(context, begun);
    const outcome = await authorize(context, order, failed, solved);
    if (outcome.failures.length === 0) {
      const certificate = await certify(context, placed, order);
      if (certificate.serial !== context.currentSerial) {
        return { certificate, orderUrl: order.url, solved };
      }
      // The order that gave the certificate in use: whoever installed it died before saying so.
      log.info('order_done_before', { order: order.url });
      await journal.remove();
      begun = null;
      continue;
    }
    // A failed challenge ends its order (RFC 8555 section 7.1.6); the key never was seen by the CA.
    await journal.remove();
    for (const name of outcome.shown) failures.delete(name);
    for (const failure of outcome.failures) {
      failures.set(failure.name, failure);
      log.warn('validation_failed', { ca: context.issuer.ca, order: order.url, ...failure });
      if (failure.challenge === null) continue;
      failed.set(failure.name, (failed.get(failure.name) ?? new Set()).add(failure.challenge));
      if (failure.type !== 'solver') await context.ledger.validationFailed(context.issuer.ca, failure.name);
    }
    if (!outcome.hasAlternatives) throw new ValidationError([...failures.values()]);
    begun = { entry: intent(context, session.accountUrl ?? ''), key: placed.key };
  }
}

/** What a crash or an unfinished attempt left, if it is what is wanted now. */
async function resumable(context: OrderContext): Promise<Begun | null> {
  const { journal, names, keyType, profile, issuer, session, log } = context;
  const found = await journal.read();
  if (found === null) return null;
  const { entry } = found;
  const fits =
    entry.ca === issuer.ca &&
    entry.accountUrl === session.accountUrl &&
    entry.names.join() === names.toSorted().join() &&
    entry.keyType === keyType &&
    entry.profile === profile;
  const reason = fits ? 'it is too old' : 'something else is wanted now';
  if (!fits || Date.now() - entry.startedAt > ORDER_LIFE_MS) {
    log.info('order_abandoned', { order: entry.orderUrl, reason });
    await journal.remove();
    return null;
  }
  return found;
}

function intent(context: OrderContext, accountUrl: string): JournalEntry {
  const { issuer, names, keyType, profile, replaces } = context;
  return {
    step: 'intent',
    ca: issuer.ca,
    accountUrl,
    names: names.toSorted(),
    keyType,
    profile,
    replaces,
    orderUrl: null,
    rejected: 0,
    startedAt: Date.now(),
  };
}

/** The order of the journal, or a new one. */
async function place(context: OrderContext, begun: Begun | null): Promise<{ placed: Begun; order: Order }> {
  const { session, journal, log } = context;
  let { reuseKey } = context;
  const { orderUrl = null, step = 'intent' } = begun?.entry ?? {};
  if (begun !== null && orderUrl !== null) {
    await assertNotParked(context);
    const order = await reread(session, orderUrl);
    if (order !== null && order.status !== 'pending') await sweep(order.authorizations, await showing(context));
    if (order !== null && order.status !== 'invalid') {
      log.info('order_resumed', { order: orderUrl, status: order.status });
      return { placed: begun, order };
    }
    log.info('order_abandoned', {
      order: orderUrl,
      reason: order === null ? 'the CA does not know it' : 'it is invalid',
    });
    await journal.remove();
    // A key the CA has seen may be in a certificate.
    if (step !== 'finalizing') reuseKey ??= begun.key;
  } else if (begun !== null) {
    reuseKey ??= begun.key;
  }
  const key = reuseKey ?? (await createKey(context.keyType));
  const entry = intent(context, session.accountUrl ?? '');
  const order = await newOrder(context, entry, key);
  const placed: Begun = { entry: { ...entry, step: 'ordered', orderUrl: order.url }, key };
  await journal.write(placed.entry);
  return { placed, order };
}

/** What is begun already counts for no limit, but a CA that asked to be left alone is left alone. */
async function assertNotParked({ ledger, issuer, names, lifeMs }: OrderContext): Promise<void> {
  const verdict = await ledger.mayOrder({ ca: issuer.ca, names, exempt: true, force: true, lifeMs });
  if (!verdict.ok) throw new BudgetError(verdict.until, verdict.reason);
}

/** null: there is no such order, or no such order of ours. */
async function reread(session: AcmeSession, url: string): Promise<Order | null> {
  try {
    return parseOrder(await session.post(url, null), url);
  } catch (error) {
    const lost = error instanceof AcmeProblem && [403, 404, 410].includes(error.status);
    if (lost && error.type !== 'accountDoesNotExist') return null;
    throw error;
  }
}

async function newOrder(context: OrderContext, entry: JournalEntry, key: string): Promise<Order> {
  const { session, ledger, journal, lock, issuer, names, profile, replaces, log } = context;
  const request = async (predecessor: string | null): Promise<Order> => {
    const orderKey = { ca: issuer.ca, names };
    const exempt = context.exempt && predecessor !== null;
    const verdict = await ledger.mayOrder({ ...orderKey, exempt, force: context.force, lifeMs: context.lifeMs });
    if (!verdict.ok) throw new BudgetError(verdict.until, verdict.reason);
    await journal.keepKey(key);
    await journal.write({ ...entry, replaces: predecessor });
    await lock.assertHeld();
    await ledger.ordered(orderKey);
    const answer = await session.post(session.directory.newOrder, {
      identifiers: names.map((value) => ({ type: net.isIP(value) === 0 ? 'dns' : 'ip', value })),
      ...(profile === null ? {} : { profile }),
      ...(predecessor === null ? {} : { replaces: predecessor }),
    });
    const url = answer.headers['location'];
    if (url === undefined) {
      throw new AcmeTransportError('NOT_ACME', 'the CA made an order and did not say which');
    }
    const order = parseOrder(answer, url);
    log.info('order_created', { ca: issuer.ca, names, order: url, profile, replaces: predecessor });
    return order;
  };
  // RFC 9773 section 5: no predecessor is named to a CA that does not say when to renew.
  if (replaces === null || session.directory.renewalInfo === null) return await request(null);
  try {
    return await request(replaces);
  } catch (error) {
    if (!isAboutReplaces(error)) throw error;
    log.warn('replaces_refused', { ca: issuer.ca, replaces, error });
    return await request(null);
  }
}

/** CAs refuse a predecessor they do not know, or whose successor is ordered already, in several words. */
function isAboutReplaces(error: unknown): boolean {
  if (!(error instanceof AcmeProblem)) return false;
  return error.status === 409 || ['alreadyReplaced', 'malformed', 'unauthorized', 'notFound'].includes(error.type);
}

async function showing(
  context: OrderContext,
  failed: AuthorizeOptions['failed'] = new Map(),
): Promise<AuthorizeOptions> {
  const { session, solvers, challenges, signal, journal } = context;
  return { session, solvers, challenges, solved: await journal.readSolved(), failed, signal };
}

interface Shown {
  readonly shown: readonly string[];
  readonly failures: readonly ValidationFailure[];
  /** Every name that failed could be shown in another way. */
  readonly hasAlternatives: boolean;
}

async function authorize(
  context: OrderContext,
  order: Order,
  failed: ReadonlyMap<string, ReadonlySet<ChallengeType>>,
  solved: Record<string, ChallengeType>,
): Promise<Shown> {
  if (order.status !== 'pending') return { shown: [], failures: [], hasAlternatives: false };
  const options = await showing(context, failed);
  const results = await authorizeAll(order.authorizations, options);
  const good = results.filter((result) => result.ok);
  for (const { name, challenge } of good) if (challenge !== null) solved[name] = challenge;
  const known = options.solved;
  if (Object.entries(solved).some(([name, type]) => known[name] !== type)) {
    await context.journal.writeSolved({ ...known, ...solved });
  }
  const bad = results.filter((result) => !result.ok);
  return {
    shown: good.map(({ name }) => name),
    failures: bad.map(({ failure }) => failure),
    hasAlternatives: bad.every(({ hasAlternative }) => hasAlternative),
  };
}

/** From an order whose names are all shown to a certificate that may be installed. */
async function certify(context: OrderContext, placed: Begun, order: Order): Promise<Certificate> {
  const { session, journal, issuer, names, now, log } = context;
  const valid = await finish(context, placed, order);
  if (valid.certificate === null) throw new OrderError('unfinished', 'the order is valid and has no certificate', {});
  try {
    const chain = await downloadChain(session, valid.certificate, issuer.preferredChain, log);
    const certificate = parseCertificate(chain, placed.key);
    verifyIssued(certificate, { names, key: placed.key, now: now() });
    return certificate;
  } catch (error) {
    if (error instanceof AcmeProblem || error instanceof AcmeTransportError || context.signal.aborted) throw error;
    // Once may be a bad transfer; twice it is the order.
    const { entry } = placed;
    if (entry.rejected > 0) await journal.remove();
    else await journal.write({ ...entry, step: 'finalizing', rejected: entry.rejected + 1 });
    const detail = error instanceof Error ? error.message : String(error);
    throw new OrderError('rejected', `what the CA gave was not installed: ${detail}`, { cause: error });
  }
}

async function finish(context: OrderContext, placed: Begun, order: Order): Promise<Order> {
  const { session, journal, signal, processingTimeoutMs = PROCESSING_TIMEOUT_MS } = context;
  const until = (busy: readonly string[], first: Answer | null = null): Promise<Order> =>
    poll(session, {
      url: order.url,
      parse: (answer) => parseOrder(answer, order.url),
      done: ({ status }) => !busy.includes(status),
      withinMs: processingTimeoutMs,
      signal,
      first,
    });
  let current = order.status === 'pending' ? await until(['pending']) : order;
  if (current.status === 'ready') {
    const answer = await finalize(context, placed, current, () => until(['pending']));
    // What was read before the CA went on may still say ready.
    current = await until(['processing', 'ready'], answer);
  } else if (current.status === 'processing') {
    current = await until(['processing', 'ready']);
  }
  if (current.status === 'valid') return current;
  await journal.remove();
  const { error } = current;
  throw new OrderError('invalid', error?.detail ?? `the order became ${current.status}`, { type: error?.type ?? '' });
}

/** What the CA said to it; null: it did not say, and the order itself must be read. */
async function finalize(
  context: OrderContext,
  placed: Begun,
  order: Order,
  untilReady: () => Promise<Order>,
): Promise<Answer | null> {
  const { session, journal, lock, names, log } = context;
  const csr = await createRequest(names, placed.key);
  await journal.write({ ...placed.entry, step: 'finalizing' });
  const send = async (): Promise<Answer> => {
    await lock.assertHeld();
    return await session.post(order.finalize, { csr });
  };
  try {
    return await send();
  } catch (error) {
    if (error instanceof AcmeProblem && error.type === 'orderNotReady') {
      return (await untilReady()).status === 'ready' ? await send() : null;
    }
    if (error instanceof AcmeTransportError || (error instanceof AcmeProblem && error.status >= 500)) {
      // It may have been done all the same; another order would be another certificate.
      const now = await reread(session, order.url).catch(() => null);
      if (now !== null && now.status !== 'ready') return null;
      throw error;
    }
    if (error instanceof AcmeProblem && error.status !== 429 && error.type !== 'badNonce') {
      log.warn('order_abandoned', { order: order.url, error });
      await journal.remove();
    }
    throw error;
  }
}
