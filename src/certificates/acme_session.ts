/**
 * acme-client's resource calls over a transport of our own: it would retry by itself for hours, wait without end, and
 * turn every refusal into a string. Every HTTP call it makes goes through `client.http.request`, which is replaced here
 * for each client; a test holds it to that.
 */
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import type { Client } from 'acme-client';
import { Agent, request } from 'undici';
import { VERSION } from '../version.ts';

const TIMEOUT_MS = 15_000;
const MAX_BODY = 1024 * 1024;
const USER_AGENT = `proxy/${VERSION} acme-client/5.4.0`;
const BAD_NONCE = 'urn:ietf:params:acme:error:badNonce';

/** The CA answered, and refused (RFC 8555 section 6.7). */
export class AcmeProblem extends Error {
  /** Without `urn:ietf:params:acme:error:`; empty when the answer had none. */
  readonly type: string;
  readonly status: number;
  /** Milliseconds since the epoch before which the CA wants no other request; null: it did not say. */
  readonly retryAt: number | null;
  constructor(type: string, status: number, detail: string, retryAt: number | null) {
    super(detail);
    this.type = type;
    this.status = status;
    this.retryAt = retryAt;
  }
}

/** The CA could not be asked, or what answered is no CA. */
export class AcmeTransportError extends Error {}

export interface AcmeSession {
  readonly client: Client;
  /** When the CA's last answer asks to be asked again, in milliseconds; null: it does not say. */
  readonly retryAfterMs: number | null;
  /** How many requests were made. */
  readonly requests: number;
  close(): Promise<void>;
}

export interface AcmeSessionOptions {
  readonly directoryUrl: string;
  /** PEM. */
  readonly accountKey: string;
  /** PEM files trusted beside the usual roots. */
  readonly trustedRoots: readonly string[];
  readonly signal: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly data: unknown;
}

export async function openAcmeSession(options: AcmeSessionOptions): Promise<AcmeSession> {
  // Most starts order nothing: they need not load it.
  const acme = await import('acme-client');
  const client = new acme.Client({ directoryUrl: options.directoryUrl, accountKey: options.accountKey });
  const roots = options.trustedRoots.map((file) => readFileSync(file, 'utf8'));
  const agent = new Agent({
    connect: { timeout: TIMEOUT_MS, ...(roots.length > 0 ? { ca: [...tls.rootCertificates, ...roots] } : {}) },
  });
  let retryAfterMs: number | null = null;
  let requests = 0;

  const ask = async (url: string, method: string, settings: { readonly data?: unknown } = {}): Promise<Answer> => {
    requests++;
    const answer = await send(agent, url, method, settings.data, options.signal);
    retryAfterMs = parseRetryAfter(answer.headers['retry-after']);
    if (url === options.directoryUrl && answer.status < 400) assertDirectory(url, answer.data);
    // The library signs again with the nonce of this answer.
    if (answer.status < 400 || problemOf(answer).type === BAD_NONCE) return answer;
    throw asProblem(answer, retryAfterMs);
  };
  const http: unknown = Reflect.get(client, 'http');
  if (typeof http !== 'object' || http === null) throw new Error('acme-client has no HTTP client to replace');
  Object.assign(http, { request: ask });

  return {
    client,
    get retryAfterMs() {
      return retryAfterMs;
    },
    get requests() {
      return requests;
    },
    close: () => agent.destroy(),
  };
}

async function send(agent: Agent, url: string, method: string, data: unknown, signal: AbortSignal): Promise<Answer> {
  try {
    const response = await request(url, {
      dispatcher: agent,
      method: method.toUpperCase() === 'POST' ? 'POST' : method.toUpperCase() === 'HEAD' ? 'HEAD' : 'GET',
      headers: {
        'user-agent': USER_AGENT,
        'accept-language': 'en',
        ...(data === undefined ? {} : { 'content-type': 'application/jose+json' }),
      },
      body: data === undefined ? null : typeof data === 'string' ? data : JSON.stringify(data),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    let text = '';
    response.body.setEncoding('utf8');
    for await (const chunk of response.body) {
      text += String(chunk);
      if (text.length > MAX_BODY) throw new AcmeTransportError(`${url} answered more than it should`);
    }
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(response.headers)) {
      // RFC 8555 has several Link lines; the library reads one string.
      if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
    }
    return { status: response.statusCode, headers, data: parseBody(text, headers['content-type'] ?? '') };
  } catch (error) {
    if (error instanceof AcmeTransportError) throw error;
    throw new AcmeTransportError(`${new URL(url).host} cannot be reached`, { cause: error });
  }
}

function parseBody(text: string, contentType: string): unknown {
  if (!/\bjson\b/.test(contentType)) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** A captive portal's page would be kept for a day. */
function assertDirectory(url: string, data: unknown): void {
  const fields = typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
  for (const name of ['newNonce', 'newAccount', 'newOrder']) {
    if (typeof fields[name] !== 'string') throw new AcmeTransportError(`what answers at ${url} is no ACME directory`);
  }
}

function problemOf({ data }: Answer): { readonly type: string; readonly detail: string } {
  const fields = typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
  const { type, detail, subproblems } = fields;
  const parts = [typeof detail === 'string' ? detail : ''];
  if (Array.isArray(subproblems)) {
    for (const part of subproblems as unknown[]) {
      const inner: unknown = typeof part === 'object' && part !== null ? Reflect.get(part, 'detail') : undefined;
      if (typeof inner === 'string' && !parts.includes(inner)) parts.push(inner);
    }
  }
  return { type: typeof type === 'string' ? type : '', detail: parts.filter(Boolean).join('; ') };
}

function asProblem(answer: Answer, retryAfterMs: number | null): AcmeProblem {
  const { type, detail } = problemOf(answer);
  const short = type.replace(/^urn:ietf:params:acme:error:/, '');
  const retryAt = retryAfterMs === null ? null : Date.now() + retryAfterMs;
  return new AcmeProblem(short, answer.status, detail || `the CA answered ${answer.status}`, retryAt);
}

/** RFC 9110 section 10.2.3: seconds or a date. */
function parseRetryAfter(value: string | undefined): number | null {
  if (value === undefined) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}
