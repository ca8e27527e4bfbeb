/**
 * One request to a CA, and what became of it: an answer, an `AcmeProblem`, an `AcmeTransportError`, or the caller's own
 * reason to stop. Nothing is retried here and nothing waits for a Retry-After.
 */
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { Agent, request } from 'undici';
import { AcmeProblem, AcmeTransportError } from './errors.ts';
import type { Subproblem } from './errors.ts';
import { VERSION } from '../../version.ts';

const TIMEOUT_MS = 15_000;
const MAX_BODY = 1024 * 1024;
const USER_AGENT = `proxy/${VERSION} acme-client/5.4.0`;
const ERROR_PREFIX = /^urn:(?:ietf:params:)?acme:error:/;

export interface Answer {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed where it is JSON, else text. */
  readonly data: unknown;
  /** When the CA wants to be asked again, in milliseconds since the epoch; null: it does not say. */
  readonly retryAt: number | null;
  /** How far the CA's clock is ahead of ours, in milliseconds; null: it does not say. */
  readonly skewMs: number | null;
}

export interface Transport {
  /** Resolves with any answer, whatever its status. */
  ask(url: string, method: string, body: string | null, signal: AbortSignal): Promise<Answer>;
  close(): Promise<void>;
}

export interface TransportOptions {
  /** PEM files trusted beside the usual roots. */
  readonly trustedRoots: readonly string[];
  readonly timeoutMs?: number;
}

export function createTransport({ trustedRoots, timeoutMs = TIMEOUT_MS }: TransportOptions): Transport {
  const roots = trustedRoots.map((file) => readFileSync(file, 'utf8'));
  const agent = new Agent({
    connect: { timeout: timeoutMs, ...(roots.length > 0 ? { ca: [...tls.rootCertificates, ...roots] } : {}) },
  });
  return {
    ask: async (url, method, body, signal) => {
      const timeout = AbortSignal.timeout(timeoutMs);
      try {
        return await exchange(agent, url, method, body, AbortSignal.any([signal, timeout]));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof AcmeTransportError) throw error;
        const code = timeout.aborted ? 'ETIMEDOUT' : codeOf(error);
        throw new AcmeTransportError(code, `${hostOf(url)} cannot be reached: ${explain(code)}`, error);
      }
    },
    close: () => agent.destroy(),
  };
}

/** Throws for what is not a success. */
export function assertSuccess(answer: Answer): Answer {
  if (answer.status < 400) return answer;
  throw asProblem(answer);
}

export function asProblem(answer: Answer): AcmeProblem {
  const { type, detail, subproblems, instance } = fieldsOf(answer.data);
  const text = typeof detail === 'string' ? detail : '';
  return new AcmeProblem({
    type: shortType(type),
    status: answer.status,
    detail: text,
    subproblems: Array.isArray(subproblems) ? (subproblems as unknown[]).map(parseSubproblem) : [],
    retryAt: answer.retryAt ?? (answer.status === 429 ? retryAtIn(text) : null),
    url: answer.url,
    instance: typeof instance === 'string' ? instance : null,
  });
}

export function shortType(type: unknown): string {
  return typeof type === 'string' ? type.replace(ERROR_PREFIX, '') : '';
}

export function fieldsOf(data: unknown): Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
}

function parseSubproblem(value: unknown): Subproblem {
  const { type, detail, identifier } = fieldsOf(value);
  const name = fieldsOf(identifier)['value'];
  return {
    identifier: typeof name === 'string' ? name : null,
    type: shortType(type),
    detail: typeof detail === 'string' ? detail : '',
  };
}

async function exchange(
  agent: Agent,
  url: string,
  method: string,
  body: string | null,
  signal: AbortSignal,
): Promise<Answer> {
  const begun = Date.now();
  const response = await request(url, {
    dispatcher: agent,
    method: method === 'POST' ? 'POST' : method === 'HEAD' ? 'HEAD' : 'GET',
    headers: {
      'user-agent': USER_AGENT,
      'accept-language': 'en',
      ...(body === null ? {} : { 'content-type': 'application/jose+json' }),
    },
    body,
    signal,
  });
  let text = '';
  response.body.setEncoding('utf8');
  for await (const chunk of response.body) {
    text += String(chunk);
    if (text.length > MAX_BODY) throw new AcmeTransportError('TOO_LARGE', `${url} answered more than it should`);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    // RFC 8555 has several Link lines.
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  const now = Date.now();
  return {
    url,
    status: response.statusCode,
    headers,
    data: parseBody(text, headers['content-type'] ?? ''),
    retryAt: parseRetryAfter(headers['retry-after'], now),
    skewMs: skewOf(headers, (begun + now) / 2),
  };
}

function parseBody(text: string, contentType: string): unknown {
  if (!/\bjson\b/.test(contentType)) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** RFC 9110 section 10.2.3: seconds or a date. */
export function parseRetryAfter(value: string | undefined, now: number): number | null {
  if (value === undefined) return null;
  const at = /^\d+$/.test(value) ? now + Number(value) * 1000 : Date.parse(value);
  return Number.isFinite(at) ? Math.max(now, at) : null;
}

/** Let's Encrypt ends the words of a rate limit so, "retry after 1970-01-01 00:18:15 UTC" too, which means a duration. */
export function retryAtIn(detail: string, now = Date.now()): number | null {
  const match = /retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d) ?(?:UTC|Z)/i.exec(detail);
  if (match === null) return null;
  const at = Date.parse(`${match[1]}T${match[2]}Z`);
  if (!Number.isFinite(at)) return null;
  return match[1]?.startsWith('1970-') ? now + at : Math.max(now, at);
}

function skewOf(headers: Readonly<Record<string, string>>, at: number): number | null {
  // What a cache kept says when it was made.
  if (headers['date'] === undefined || headers['age'] !== undefined) return null;
  const date = Date.parse(headers['date']);
  // Its seconds are whole: on average half of one is missing.
  return Number.isFinite(date) ? Math.round(date + 500 - at) : null;
}

/** The innermost code: undici's own names say less than what they wrap. */
function codeOf(error: unknown): string {
  let code = 'UNKNOWN';
  for (let at = error; at instanceof Error; at = at.cause) {
    const own: unknown = Reflect.get(at, 'code');
    if (typeof own === 'string') code = own;
    // Several addresses, each refused in its own way.
    if (at instanceof AggregateError && at.errors.length > 0) return codeOf(at.errors[0]);
  }
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'UND_ERR_HEADERS_TIMEOUT') return 'ETIMEDOUT';
  return code === 'UND_ERR_SOCKET' ? 'ECONNRESET' : code;
}

function explain(code: string): string {
  switch (code) {
    case 'ETIMEDOUT':
      return 'it did not answer in time';
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
      return 'the connection was cut';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'its name cannot be resolved';
    case 'CERT_NOT_YET_VALID':
    case 'CERT_HAS_EXPIRED':
      return `its own certificate is not valid at our time (${code}); is the clock right?`;
    default:
      return code;
  }
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}
