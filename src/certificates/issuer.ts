/** One certificate from an ACME CA: account, order, challenge, finalization (RFC 8555 section 7), polled by ourselves. */
import type { Authorization, Order } from 'acme-client';
import { AcmeTransportError, openAcmeSession } from './acme_session.ts';
import type { AcmeSession } from './acme_session.ts';
import { parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { issuerSlug } from './store.ts';
import type { Storage } from './storage/storage.ts';
import { sleep } from '../lifecycle.ts';

/** The CA's own wish is heeded within these. */
const POLL_MIN_MS = 250;
const POLL_MAX_MS = 60_000;
/** Without a wish: a CA that is quick is not kept waiting, a slow one not pestered. */
const POLL_STEPS_MS = [250, 500, 1_000, 2_000, 5_000];
/** A whole order; Let's Encrypt's take seconds, a slow validation minutes. */
const ORDER_TIMEOUT_MS = 5 * 60_000;

/**
 * Answers http-01 challenges (RFC 8555 section 8.3). `arm` resolves when every address the CA may ask answers with
 * `keyAuthorization` at the token; `disarm` ends that, and must not fail for a token that was never armed.
 */
export interface Solver {
  arm(token: string, keyAuthorization: string): Promise<void>;
  disarm(token: string): Promise<void>;
}

export interface Ca {
  readonly directoryUrl: string;
  readonly trustedRoots: readonly string[];
  readonly email: string | null;
}

/** The CA asked, and what it found is not what it must find; the message is the CA's. */
export class ValidationError extends Error {}

export interface OrderOptions {
  readonly ca: Ca;
  readonly name: string;
  readonly solver: Solver;
  readonly signal: AbortSignal;
  /** Where the account is kept; null: an account for this order alone, of which nothing stays. */
  readonly storage: Storage | null;
}

/** Orders a certificate for one DNS name, with a key that never was used before. */
export async function obtainCertificate({ ca, name, solver, signal, storage }: OrderOptions): Promise<Certificate> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(ORDER_TIMEOUT_MS)]);
  const { crypto } = await import('acme-client');
  const kept = `accounts/${issuerSlug(ca.directoryUrl)}/key.pem`;
  const known = (await storage?.read(kept)) ?? null;
  const accountKey = known ?? String(await crypto.createPrivateEcdsaKey('P-256'));
  if (known === null) await storage?.write(kept, accountKey);
  const session = await openAcmeSession({ ...ca, accountKey, signal: deadline });
  try {
    // RFC 8555 section 7.3.1: a CA that knows the key gives the account it has.
    await session.client.createAccount({
      termsOfServiceAgreed: true,
      ...(ca.email === null ? {} : { contact: [`mailto:${ca.email}`] }),
    });
    const order = await session.client.createOrder({ identifiers: [{ type: 'dns', value: name }] });
    return await fulfil(session, order, name, solver, deadline);
  } finally {
    await session.close();
  }
}

async function fulfil(
  session: AcmeSession,
  order: Order,
  name: string,
  solver: Solver,
  signal: AbortSignal,
): Promise<Certificate> {
  const { client } = session;
  const { crypto } = await import('acme-client');
  for (const authorization of await client.getAuthorizations(order)) {
    if (authorization.status !== 'valid') await authorize(session, authorization, solver, signal);
  }
  const ready = await poll(
    session,
    signal,
    () => client.getOrder(order),
    (it) => it.status !== 'pending',
  );
  assertOrder(ready);
  const [key, csr] = await crypto.createCsr(
    { commonName: name, altNames: [name] },
    await crypto.createPrivateEcdsaKey('P-256'),
  );
  const finalized = await client.finalizeOrder(ready, csr);
  const valid = await poll(
    session,
    signal,
    () => client.getOrder({ ...finalized, url: order.url }),
    (it) => it.status !== 'processing' && it.status !== 'ready',
  );
  assertOrder(valid);
  return parseCertificate(await client.getCertificate(valid), String(key));
}

async function authorize(
  session: AcmeSession,
  authorization: Authorization,
  solver: Solver,
  signal: AbortSignal,
): Promise<void> {
  const { client } = session;
  const challenge = authorization.challenges.find(({ type }) => type === 'http-01');
  if (challenge === undefined) {
    throw new ValidationError(`the CA offers no http-01 challenge for ${authorization.identifier.value}`);
  }
  const { token } = challenge;
  try {
    await solver.arm(token, await client.getChallengeKeyAuthorization(challenge));
    await client.completeChallenge(challenge);
    const current = await poll(
      session,
      signal,
      // The authorization itself: its challenges may be settled before it is.
      async () => (await client.getAuthorizations(orderOf(authorization)))[0] ?? authorization,
      (it) => it.status !== 'pending',
    );
    if (current.status !== 'valid') throw new ValidationError(reasonOf(current));
  } finally {
    await solver.disarm(token);
  }
}

/** getAuthorizations reads what an order lists; one authorization is an order that lists it. */
function orderOf({ url, identifier }: Authorization): Order {
  return { url: '', status: 'pending', identifiers: [identifier], authorizations: [url], finalize: '' };
}

async function poll<T>(
  session: AcmeSession,
  signal: AbortSignal,
  read: () => Promise<T>,
  done: (value: T) => boolean,
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const value = await read();
    if (done(value)) return value;
    const step = POLL_STEPS_MS[Math.min(attempt, POLL_STEPS_MS.length - 1)] ?? POLL_MAX_MS;
    const wish = session.retryAfterMs;
    await sleep(wish === null ? step : Math.min(POLL_MAX_MS, Math.max(POLL_MIN_MS, wish)), signal);
    if (signal.aborted) throw new AcmeTransportError('the CA did not finish the order in time');
  }
}

function assertOrder(order: Order): void {
  if (order.status === 'ready' || order.status === 'valid' || order.status === 'processing') return;
  const error: unknown = Reflect.get(order, 'error');
  throw new ValidationError(detailOf(error) ?? `the order became ${order.status}`);
}

/** What the CA found wrong, in its words. */
function reasonOf(authorization: Authorization): string {
  for (const challenge of authorization.challenges) {
    const detail = detailOf(Reflect.get(challenge, 'error'));
    if (detail !== null) return detail;
  }
  return `the authorization of ${authorization.identifier.value} became ${authorization.status}`;
}

function detailOf(problem: unknown): string | null {
  if (typeof problem !== 'object' || problem === null) return null;
  const detail: unknown = Reflect.get(problem, 'detail');
  return typeof detail === 'string' ? detail : null;
}
