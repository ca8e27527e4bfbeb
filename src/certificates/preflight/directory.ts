/** The CA's directory, fetched once: whether it is one, what it says of itself, and what time it is there. */
import { parseDirectory } from '../acme/directory.ts';
import type { Directory } from '../acme/directory.ts';
import { AcmeTransportError } from '../acme/errors.ts';
import { createTransport } from '../acme/transport.ts';
import type { IssuerConfig } from '../../config/config.ts';

const TIMEOUT_MS = 5_000;

export type DirectoryOutcome =
  | {
      readonly kind: 'directory';
      readonly directory: Directory;
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
  const transport = createTransport({ trustedRoots: issuer.trustedRoots, timeoutMs: TIMEOUT_MS });
  let clockAheadMs: number | null = null;
  try {
    const { status, headers, data } = await transport.ask(directoryUrl, 'GET', null, signal);
    clockAheadMs = clockAhead(headers['date'], now());
    if (status >= 500) return { kind: 'unreachable', reason: `the CA answers ${status}`, code: String(status) };
    if (status !== 200) return { kind: 'not_a_directory', reason: `the answer is ${status}`, clockAheadMs };
    return { kind: 'directory', directory: parseDirectory(directoryUrl, data), clockAheadMs };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AcmeTransportError)) throw error;
    const { code, message: reason } = error;
    if (code === 'NOT_A_DIRECTORY' || code === 'TOO_LARGE') return { kind: 'not_a_directory', reason, clockAheadMs };
    return { kind: 'unreachable', reason, code };
  } finally {
    await transport.close();
  }
}

function clockAhead(date: string | undefined, now: number): number | null {
  const at = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isFinite(at) ? now - at : null;
}
