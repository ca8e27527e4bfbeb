/** The CA's directory, fetched once: whether it is one, what it says of itself, and what time it is there. */
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { Agent, request } from 'undici';
import type { IssuerConfig } from '../../config/config.ts';
import { describeError } from '../../log.ts';
import { VERSION } from '../../version.ts';

const TIMEOUT_MS = 5_000;
const MAX_BODY = 1024 * 1024;

export type DirectoryOutcome =
  | {
      readonly kind: 'directory';
      readonly caaIdentities: readonly string[];
      /** Names of its profiles; null: it has none. */
      readonly profiles: readonly string[] | null;
      readonly terms: string | null;
      readonly accountBindingRequired: boolean;
      /** How far the local clock is ahead of the CA's, in milliseconds; null: it did not say. */
      readonly clockAheadMs: number | null;
    }
  | { readonly kind: 'unreachable'; readonly reason: string; readonly code: string }
  | { readonly kind: 'not_a_directory'; readonly reason: string; readonly clockAheadMs: number | null };

interface Options {
  readonly directoryUrl: string;
  readonly issuer: IssuerConfig;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** Rejects only with the reason of `signal`. */
export async function fetchDirectory({ directoryUrl, issuer, now, signal }: Options): Promise<DirectoryOutcome> {
  let agent: Agent | null = null;
  try {
    const roots = issuer.trustedRoots.map((file) => readFileSync(file, 'utf8'));
    const ca = roots.length > 0 ? { ca: [...tls.rootCertificates, ...roots] } : {};
    agent = new Agent({ connect: { timeout: TIMEOUT_MS, ...ca } });
    const response = await request(directoryUrl, {
      dispatcher: agent,
      headers: { 'user-agent': `proxy/${VERSION}`, 'accept-language': 'en' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    const clockAheadMs = clockAhead(response.headers['date'], now());
    let text = '';
    response.body.setEncoding('utf8');
    for await (const chunk of response.body) {
      text += String(chunk);
      if (text.length > MAX_BODY) return { kind: 'not_a_directory', reason: 'the answer does not end', clockAheadMs };
    }
    const { statusCode: status } = response;
    if (status >= 500) return { kind: 'unreachable', reason: `the CA answers ${status}`, code: String(status) };
    if (status !== 200) return { kind: 'not_a_directory', reason: `the answer is ${status}`, clockAheadMs };
    return parseDirectory(text, clockAheadMs);
  } catch (error) {
    signal.throwIfAborted();
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const timedOut = error instanceof Error && error.name === 'TimeoutError';
    return { kind: 'unreachable', reason: timedOut ? 'no answer within 5 s' : describeError(error), code };
  } finally {
    await agent?.destroy();
  }
}

/** RFC 8555 section 7.1.1; `profiles` as in draft-ietf-acme-profiles. Fields nobody knows are ignored. */
export function parseDirectory(text: string, clockAheadMs: number | null): DirectoryOutcome {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'not_a_directory', reason: 'the answer is not JSON (a page of a captive portal?)', clockAheadMs };
  }
  const directory = fieldsOf(value);
  for (const name of ['newNonce', 'newAccount', 'newOrder']) {
    if (typeof directory[name] !== 'string') {
      return { kind: 'not_a_directory', reason: `the answer has no ${name}`, clockAheadMs };
    }
  }
  const meta = fieldsOf(directory['meta']);
  const { caaIdentities, profiles, termsOfService, externalAccountRequired } = meta;
  return {
    kind: 'directory',
    caaIdentities: Array.isArray(caaIdentities) ? caaIdentities.filter((it) => typeof it === 'string') : [],
    profiles: typeof profiles === 'object' && profiles !== null ? Object.keys(profiles) : null,
    terms: typeof termsOfService === 'string' ? termsOfService : null,
    accountBindingRequired: externalAccountRequired === true,
    clockAheadMs,
  };
}

function clockAhead(date: string | string[] | undefined, now: number): number | null {
  const at = typeof date === 'string' ? Date.parse(date) : Number.NaN;
  return Number.isFinite(at) ? now - at : null;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
