/** All policies, in the order in which they see a request; the first that answers has the last word. */
import { headers } from './headers.ts';
import { hsts } from './hsts.ts';
import { httpsRedirect } from './https_redirect.ts';
import type { ForwardStep, Policy, PolicyContext, RequestStep, ResponseStep } from './policy.ts';
import { redirect } from './redirect.ts';
import { stripPrefix } from './strip_prefix.ts';

const POLICIES: readonly Policy[] = [httpsRedirect, redirect, stripPrefix, headers, hsts];

export interface Chain {
  readonly onRequest: readonly RequestStep[];
  readonly onForward: readonly ForwardStep[];
  readonly onResponse: readonly ResponseStep[];
}

export function createChain(context: PolicyContext): Chain {
  const steps = POLICIES.flatMap((policy) => policy(context) ?? []);
  return {
    onRequest: steps.flatMap(({ onRequest }) => onRequest ?? []),
    onForward: steps.flatMap(({ onForward }) => onForward ?? []),
    onResponse: steps.flatMap(({ onResponse }) => onResponse ?? []),
  };
}
