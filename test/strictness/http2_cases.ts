/** Requests of HTTP/2 that are malformed, or that a worker of HTTP/1.1 could understand otherwise, and what must become of them. */
import type { Fields } from '../support/frames.ts';

/** forwarded: the worker gets it, and what it gets says the same in HTTP/1.1. A status: the answer is the proxy's own. */
export type Http2Outcome = 'forwarded' | number;

export interface Http2Case {
  /** The section of the rule, and what is tried. */
  readonly name: string;
  readonly fields: Fields;
  /** What each DATA frame has; without one HEADERS end the stream. */
  readonly data: readonly string[];
  readonly trailers: Fields;
  readonly outcome: Http2Outcome;
  /** What must be understood, when not all that was said may be. */
  readonly understood: Fields;
}

export const HOST = 'localhost';
export const METHOD = ':method';
export const SCHEME = ':scheme';
export const AUTHORITY = ':authority';
export const PATH = ':path';
export const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n';

type Pseudo = Readonly<Record<string, string | null>>;

/** The pseudo-header fields with some changed, or left out when null, and other fields behind them. */
export function request(pseudo: Pseudo = {}, more: Fields = []): Fields {
  const usual = { [METHOD]: 'GET', [SCHEME]: 'https', [AUTHORITY]: HOST, [PATH]: '/' };
  const all = Object.entries({ ...usual, ...pseudo });
  return [...all.flatMap(([name, value]) => (value === null ? [] : [[name, value] as const])), ...more];
}

interface Parts {
  readonly body?: string | readonly string[];
  readonly trailers?: Fields;
  readonly understood?: Fields;
}

export function one(
  name: string,
  outcome: Http2Outcome,
  fields: Fields,
  { body = [], trailers = [], understood = fields }: Parts = {},
): Http2Case {
  return { name, fields, data: typeof body === 'string' ? [body] : body, trailers, outcome, understood };
}

export function withField(name: string, value: string): Fields {
  return request({}, [[name, value]]);
}

export function post(more: Fields): Fields {
  return request({ [METHOD]: 'POST' }, more);
}
