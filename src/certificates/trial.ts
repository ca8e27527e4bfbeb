/** How a trial order ended, in words that may leave the daemon: the CA's own, without tokens. */
import { classify } from './acme/failure.ts';
import type { RenewalCode } from './outcome.ts';
import { describeError } from '../log.ts';

export interface TrialResult {
  /** 0: it succeeded. */
  readonly code: RenewalCode;
  readonly reason?: string;
  /** By which control was shown. */
  readonly challenge?: string;
  /** What the CA refused; null: it was not the CA. */
  readonly problem?: TrialProblem | null;
}

/** RFC 7807, RFC 8555 section 6.7. */
export interface TrialProblem {
  /** Without `urn:ietf:params:acme:error:`; empty when the CA gave none. */
  readonly type: string;
  readonly status: number | null;
  readonly subproblems: readonly { readonly identifier: string; readonly type: string; readonly detail: string }[];
  /** What the CA fetched when it looked, as far as it said. */
  readonly url: string | null;
  /** Before which it wants no other request, in milliseconds since the epoch. */
  readonly retryAt: number | null;
}

const URN = /^urn:ietf:params:acme:error:/;

export function failedTrial(error: unknown): TrialResult {
  const reason = withoutTokens(describeError(error));
  return { code: classify(error).code, reason, problem: problemOf(error, reason) };
}

/** Tokens are of no use to a reader, and key authorizations are nobody's business. */
export function withoutTokens(text: string): string {
  return text
    .replace(/\b[\w-]{16,128}\.[\w-]{43}\b/g, '…')
    .replace(/(\/\.well-known\/acme-challenge\/)[\w-]{16,128}/g, '$1…');
}

function problemOf(error: unknown, reason: string): TrialProblem | null {
  if (!(error instanceof Error)) return null;
  const fields = fieldsOf(error);
  const { type, status } = fields;
  // A refusal has subproblems; a validation that failed has failures, one for each name.
  const parts = [fields['subproblems'], fields['failures']].flatMap((list) => (Array.isArray(list) ? list : []));
  const subproblems = parts.map(subproblemOf);
  const told = parts.map((part) => fieldsOf(part)['url']).find((url) => typeof url === 'string');
  const url = told ?? /https?:\/\/[^\s"'<>]+/.exec(reason)?.[0].replace(/[:.,;]+$/, '') ?? null;
  if (typeof type !== 'string' && subproblems.length === 0 && url === null) return null;
  const retryAt = [fields['retryAt'], fields['until']].find((at) => typeof at === 'number');
  return {
    type: typeof type === 'string' ? type.replace(URN, '') : (subproblems[0]?.type ?? ''),
    status: typeof status === 'number' ? status : null,
    subproblems,
    url: url === null ? null : withoutTokens(url),
    retryAt: retryAt ?? null,
  };
}

function subproblemOf(part: unknown): TrialProblem['subproblems'][number] {
  const fields = fieldsOf(part);
  const { identifier, name } = fields;
  return {
    identifier: textOf(name ?? (typeof identifier === 'string' ? identifier : fieldsOf(identifier)['value'])),
    type: textOf(fields['type']).replace(URN, ''),
    detail: withoutTokens(textOf(fields['detail'])),
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
