/** What outlives a restart about renewing one certificate: failures, and the CA's word on when. */
import type { AriRecord, Attempts } from '../renewal.ts';

export interface AcmeState {
  readonly attempts: Attempts | null;
  readonly ari: AriRecord | null;
  readonly ariPollAt: number;
  /** Of the certificate `ari` is about. */
  readonly serial: string | null;
}

/** Of what cannot be read nothing is believed. */
export function parseState(state: Readonly<Record<string, unknown>> | null): AcmeState {
  const { attempts, ari, ariPollAt, serial } = state ?? {};
  return {
    attempts: parseAttempts(attempts),
    ari: parseAri(ari),
    ariPollAt: typeof ariPollAt === 'number' ? ariPollAt : 0,
    serial: typeof serial === 'string' ? serial : null,
  };
}

function parseAttempts(value: unknown): Attempts | null {
  if (!isRecord(value)) return null;
  const { failures, lastAttemptAt, error, code, retryAt, needsOperator, wish } = value;
  if (typeof failures !== 'number' || typeof lastAttemptAt !== 'number' || typeof error !== 'string') return null;
  return {
    failures,
    lastAttemptAt,
    error,
    code: typeof code === 'number' ? code : 1,
    retryAt: typeof retryAt === 'number' ? retryAt : null,
    needsOperator: needsOperator === true,
    wish: typeof wish === 'string' ? wish : '',
  };
}

function parseAri(value: unknown): AriRecord | null {
  if (!isRecord(value)) return null;
  const { certId, start, end, selectedAt, explanationUrl } = value;
  if (typeof certId !== 'string' || typeof start !== 'number' || typeof end !== 'number') return null;
  if (typeof selectedAt !== 'number') return null;
  return {
    certId,
    start,
    end,
    selectedAt,
    explanationUrl: typeof explanationUrl === 'string' ? explanationUrl : null,
  };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
