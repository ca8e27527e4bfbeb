/** Orders and authorizations as a CA describes them (RFC 8555 section 7.1); fields and types nobody knows are passed over. */
import { AcmeTransportError } from './errors.ts';
import type { Subproblem } from './errors.ts';
import { asProblem, fieldsOf } from './transport.ts';
import type { Answer } from './transport.ts';

export interface ProblemDocument {
  readonly type: string;
  readonly detail: string;
  readonly subproblems: readonly Subproblem[];
}

export interface Order {
  readonly url: string;
  /** RFC 8555's: pending, ready, processing, valid, invalid. */
  readonly status: string;
  readonly authorizations: readonly string[];
  readonly finalize: string;
  /** Where the certificate is; null until it is there. */
  readonly certificate: string | null;
  readonly error: ProblemDocument | null;
}

export interface OfferedChallenge {
  readonly type: string;
  readonly url: string;
  /** null for types that need none. */
  readonly token: string | null;
  /** Of dns-persist-01: what the CA is called in records. */
  readonly issuerDomains: readonly string[];
  readonly error: (ProblemDocument & { readonly fetched: string | null }) | null;
}

export interface Authorization {
  readonly url: string;
  readonly identifier: { readonly type: string; readonly value: string };
  readonly wildcard: boolean;
  /** RFC 8555's: pending, valid, invalid, deactivated, expired, revoked. */
  readonly status: string;
  readonly challenges: readonly OfferedChallenge[];
}

export function parseOrder(answer: Answer, url: string): Order {
  const { status, authorizations, finalize, certificate, error } = fieldsOf(answer.data);
  if (typeof status !== 'string' || typeof finalize !== 'string') throw unreadable(url, 'an order');
  return {
    url,
    status,
    authorizations: arrayOf(authorizations).filter((it): it is string => typeof it === 'string'),
    finalize,
    certificate: typeof certificate === 'string' ? certificate : null,
    error: parseProblem(answer, error),
  };
}

export function parseAuthorization(answer: Answer): Authorization {
  const { status, identifier, wildcard, challenges } = fieldsOf(answer.data);
  const { type, value } = fieldsOf(identifier);
  if (typeof status !== 'string' || typeof type !== 'string' || typeof value !== 'string') {
    throw unreadable(answer.url, 'an authorization');
  }
  return {
    url: answer.url,
    identifier: { type, value: value.toLowerCase() },
    wildcard: wildcard === true,
    status,
    challenges: arrayOf(challenges).flatMap((it) => parseChallenge(answer, it)),
  };
}

function parseChallenge(answer: Answer, value: unknown): OfferedChallenge[] {
  const { type, url, token, error, validationRecord, ['issuer-domain-names']: domains } = fieldsOf(value);
  if (typeof type !== 'string' || typeof url !== 'string') return [];
  const problem = parseProblem(answer, error);
  const fetched = fieldsOf(arrayOf(validationRecord).at(-1))['url'];
  return [
    {
      type,
      url,
      token: typeof token === 'string' ? token : null,
      issuerDomains: arrayOf(domains).filter((it): it is string => typeof it === 'string'),
      error: problem === null ? null : { ...problem, fetched: typeof fetched === 'string' ? fetched : null },
    },
  ];
}

function parseProblem(answer: Answer, value: unknown): ProblemDocument | null {
  if (typeof value !== 'object' || value === null) return null;
  const { type, detail, subproblems } = asProblem({ ...answer, data: value });
  return { type, detail, subproblems };
}

function arrayOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function unreadable(url: string, what: string): AcmeTransportError {
  return new AcmeTransportError('NOT_ACME', `what ${url} answers is not ${what}`);
}
