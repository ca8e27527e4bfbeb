/**
 * Showing control over the names of one order: for each the first challenge that the CA offers, the configuration allows
 * and a solver can answer, beginning with the one that worked the last time. Every answer is taken away again.
 */
import { OrderError } from './errors.ts';
import type { ValidationFailure } from './errors.ts';
import { poll } from './poll.ts';
import { parseAuthorization } from './resources.ts';
import type { Authorization, OfferedChallenge } from './resources.ts';
import type { AcmeSession } from './session.ts';
import type { Challenge, ChallengeType, Identifier, Solver } from '../solvers/solver.ts';
import { describeError } from '../../log.ts';

/** Let's Encrypt serves 250 requests a second; a certificate of 100 names is in no hurry. */
const AT_ONCE = 10;
const VALIDATION_TIMEOUT_MS = 180_000;

export interface AuthorizeOptions {
  readonly session: AcmeSession;
  readonly solvers: readonly Solver[];
  /** In order of preference. */
  readonly challenges: readonly ChallengeType[];
  /** What worked the last time, by name. */
  readonly solved: Readonly<Record<string, string>>;
  /** What failed already, by name: never tried again. */
  readonly failed: ReadonlyMap<string, ReadonlySet<ChallengeType>>;
  readonly signal: AbortSignal;
}

export type Authorized =
  /** `challenge` null: the CA still knew. */
  | { readonly ok: true; readonly name: string; readonly challenge: ChallengeType | null }
  | { readonly ok: false; readonly failure: ValidationFailure; readonly hasAlternative: boolean };

/** One result per authorization. Rejects when the CA cannot be asked, after every answer was taken away. */
export async function authorizeAll(urls: readonly string[], options: AuthorizeOptions): Promise<readonly Authorized[]> {
  const cut = new AbortController();
  const signal = AbortSignal.any([options.signal, cut.signal]);
  const results: Authorized[] = [];
  const left = [...urls];
  const work = async (): Promise<void> => {
    for (let url = left.shift(); url !== undefined; url = left.shift()) {
      results.push(await authorize(url, { ...options, signal }));
    }
  };
  let first: { readonly error: unknown } | null = null;
  await Promise.all(
    Array.from({ length: Math.min(AT_ONCE, urls.length) }, () =>
      work().catch((error: unknown) => {
        // The others end at once because of it: theirs is not the reason.
        first ??= { error };
        cut.abort(error);
      }),
    ),
  );
  if (first !== null) throw (first as { readonly error: unknown }).error;
  return results;
}

/** Takes away what somebody who died may have left for these authorizations; those that cannot be asked about expire. */
export async function sweep(urls: readonly string[], options: AuthorizeOptions): Promise<void> {
  const { session } = options;
  for (const url of urls) {
    const answer = await session.post(url, null).catch(() => null);
    if (answer === null || answer.status !== 200) continue;
    const authorization = parseAuthorization(answer);
    for (const { solver, offered } of candidatesFor(authorization, { ...options, failed: new Map() })) {
      await solver.disarm(await challengeOf(session, authorization, solver, offered));
    }
  }
}

async function authorize(url: string, options: AuthorizeOptions): Promise<Authorized> {
  const { session, signal } = options;
  const authorization = parseAuthorization(await session.post(url, null));
  const name = nameOf(authorization);
  if (authorization.status === 'valid') return { ok: true, name, challenge: null };
  const candidates = candidatesFor(authorization, options);
  const [candidate] = candidates;
  if (candidate === undefined)
    return { ok: false, failure: nothingFits(authorization, options), hasAlternative: false };
  const { solver, offered } = candidate;
  const fail = (type: string, detail: string, fetched: string | null): Authorized => ({
    ok: false,
    failure: { name, challenge: solver.type, type, detail, url: fetched },
    hasAlternative: candidates.length > 1,
  });
  if (authorization.status !== 'pending') return fail('', `the authorization is ${authorization.status}`, null);

  const challenge = await challengeOf(session, authorization, solver, offered);
  try {
    try {
      await solver.arm(challenge, signal);
    } catch (error) {
      signal.throwIfAborted();
      return fail('solver', describeError(error), null);
    }
    await session.post(offered.url, {});
    const settled = await poll(session, {
      url,
      parse: parseAuthorization,
      done: ({ status }) => status !== 'pending',
      withinMs: VALIDATION_TIMEOUT_MS,
      signal,
    });
    if (settled.status === 'valid') return { ok: true, name, challenge: solver.type };
    const error = settled.challenges.find(({ url }) => url === offered.url)?.error ?? null;
    return fail(
      error?.type ?? '',
      error === null ? `the authorization became ${settled.status}` : detailOf(error),
      error?.fetched ?? null,
    );
  } catch (error) {
    if (!(error instanceof OrderError) || error.code !== 'unfinished') throw error;
    throw new OrderError('unfinished', `the CA has not looked at ${name} in time`, { cause: error });
  } finally {
    await solver.disarm(challenge);
  }
}

async function challengeOf(
  session: AcmeSession,
  authorization: Authorization,
  { type }: Solver,
  { token, issuerDomains }: OfferedChallenge,
): Promise<Challenge> {
  return {
    type,
    identifier: identifierOf(authorization),
    wildcard: authorization.wildcard,
    token: token ?? '',
    keyAuthorization: token === null ? '' : await session.keyAuthorization(token),
    issuerDomains,
    accountUrl: session.accountUrl ?? '',
  };
}

interface Candidate {
  readonly solver: Solver;
  readonly offered: OfferedChallenge;
}

function candidatesFor(authorization: Authorization, options: AuthorizeOptions): readonly Candidate[] {
  const name = nameOf(authorization);
  const identifier = identifierOf(authorization);
  const failed = options.failed.get(name);
  const candidates = options.challenges.flatMap((type): Candidate[] => {
    const offered = authorization.challenges.find((it) => it.type === type);
    const solver = options.solvers.find((it) => it.type === type);
    if (offered === undefined || solver === undefined || failed?.has(type) === true) return [];
    // The persistent record names the account and needs no token.
    if (offered.token === null && type !== 'dns-persist-01') return [];
    return solver.solves(identifier, authorization.wildcard) ? [{ solver, offered }] : [];
  });
  const worked = options.solved[name];
  return candidates.toSorted((a, b) => Number(b.solver.type === worked) - Number(a.solver.type === worked));
}

function nothingFits(authorization: Authorization, { challenges }: AuthorizeOptions): ValidationFailure {
  const offered = authorization.challenges.map(({ type }) => type).join(', ') || 'nothing';
  const detail = `the CA offers ${offered}; of acme.challenges (${challenges.join(', ')}) none fits`;
  return { name: nameOf(authorization), challenge: null, type: 'unsupported', detail, url: null };
}

function nameOf({ identifier, wildcard }: Authorization): string {
  return wildcard ? `*.${identifier.value}` : identifier.value;
}

function identifierOf({ identifier: { type, value } }: Authorization): Identifier {
  return { type: type === 'ip' ? 'ip' : 'dns', value };
}

function detailOf({ detail, subproblems }: NonNullable<OfferedChallenge['error']>): string {
  return [...new Set([detail, ...subproblems.map((it) => it.detail)])].filter(Boolean).join('; ');
}
