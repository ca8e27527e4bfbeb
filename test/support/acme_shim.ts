/**
 * What Debian's Pebble cannot do, in front of one: an https server that forwards everything (Pebble builds its URLs from
 * the Host header, so clients stay here) and, endpoint by endpoint, misbehaves as a test scripts it: problems with
 * Retry-After, pages instead of JSON, stalls, resets, bad nonces, slow orders, other certificates, ARI, profiles.
 *
 *     await using shim = await startShim(pebble, { profiles: ['shortlived'] });
 *     shim.script('newOrder', problem('rateLimited', 429, { 'retry-after': '3600' }), { times: 1 });
 *     shim.script('order', processing({ 'retry-after': '1' }), { times: 3 });
 *     shim.script('certificate', rewrite((answer) => ({ ...answer, body: 'garbage' })));
 *     shim.count('newOrder');
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Agent, request as send } from 'undici';
import { createSelfSigned } from './self_signed.ts';

export type Endpoint =
  | 'directory'
  | 'newNonce'
  | 'newAccount'
  | 'newOrder'
  | 'account'
  | 'order'
  | 'authorization'
  | 'challenge'
  | 'finalize'
  | 'certificate'
  | 'revokeCert'
  | 'keyChange'
  | 'renewalInfo'
  | 'other';

export interface ShimRequest {
  readonly endpoint: Endpoint;
  readonly method: string;
  readonly path: string;
  /** What was signed; null: nothing, as when something is only read. */
  readonly payload: Readonly<Record<string, unknown>> | null;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface ShimAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type Behaviour =
  | { readonly kind: 'answer'; readonly answer: ShimAnswer }
  /** Pebble answers, and what it says is changed. */
  | { readonly kind: 'rewrite'; readonly change: (answer: ShimAnswer) => ShimAnswer }
  | { readonly kind: 'stall' }
  | { readonly kind: 'reset' };

export interface ScriptOptions {
  /** How often; then the next script of this endpoint has its turn, then Pebble. Without: always. */
  readonly times?: number;
  /** Only for some requests. */
  readonly when?: (request: ShimRequest) => boolean;
}

export interface Shim extends AsyncDisposable {
  readonly directoryUrl: string;
  /** PEM file: who vouches for the shim. */
  readonly trustedRoot: string;
  readonly requests: readonly ShimRequest[];
  count(endpoint: Endpoint): number;
  script(endpoint: Endpoint, behaviour: Behaviour, options?: ScriptOptions): void;
  /** Forgets what was scripted, for one endpoint or all. */
  clear(endpoint?: Endpoint): void;
  /** Another Pebble from now on: a CA that lost its memory. */
  forwardTo(directoryUrl: string, trustedRoot: string): void;
}

export interface ShimOptions {
  /** Listed in the directory. */
  readonly profiles?: readonly string[];
  /** The directory offers ARI; answers are scripted, 404 without a script. */
  readonly renewalInfo?: boolean;
  /** Further fields of the directory's `meta`. */
  readonly meta?: Readonly<Record<string, unknown>>;
  /** A port of its own choosing without. */
  readonly port?: number;
}

export function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Behaviour {
  const answer = { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
  return { kind: 'answer', answer };
}

/** RFC 7807 with ACME's types. */
export function problem(
  type: string,
  status: number,
  headers: Readonly<Record<string, string>> = {},
  more: Readonly<Record<string, unknown>> = {},
): Behaviour {
  const body = { type: `urn:ietf:params:acme:error:${type}`, detail: `it is ${type}`, status, ...more };
  return json(status, body, { 'content-type': 'application/problem+json', ...headers });
}

export function page(status: number, headers: Readonly<Record<string, string>> = {}): Behaviour {
  const body = '<!doctype html><title>Please log in</title>';
  return { kind: 'answer', answer: { status, headers: { 'content-type': 'text/html', ...headers }, body } };
}

export function empty(status: number, headers: Readonly<Record<string, string>> = {}): Behaviour {
  return { kind: 'answer', answer: { status, headers, body: '' } };
}

export function badNonce(): Behaviour {
  return problem('badNonce', 400);
}

export function rewrite(change: (answer: ShimAnswer) => ShimAnswer): Behaviour {
  return { kind: 'rewrite', change };
}

export function rewriteJson(
  change: (body: Record<string, unknown>) => unknown,
  headers: Readonly<Record<string, string>> = {},
): Behaviour {
  return rewrite((answer) => ({
    ...answer,
    headers: { ...answer.headers, ...headers },
    body: JSON.stringify(change(JSON.parse(answer.body) as Record<string, unknown>)),
  }));
}

/** An order that is done is said not to be. */
export function processing(headers: Readonly<Record<string, string>> = {}): Behaviour {
  return rewriteJson((order) => {
    if (order['status'] !== 'valid') return order;
    const { certificate, ...rest } = order;
    return typeof certificate === 'string' ? { ...rest, status: 'processing' } : order;
  }, headers);
}

export const stall: Behaviour = { kind: 'stall' };
export const reset: Behaviour = { kind: 'reset' };

interface Script {
  readonly behaviour: Behaviour;
  readonly when: (request: ShimRequest) => boolean;
  left: number;
}

export async function startShim(
  pebble: { readonly directoryUrl: string; readonly trustedRoot: string },
  options: ShimOptions = {},
): Promise<Shim> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-shim-'));
  const { key, certificate } = await createSelfSigned(folder, 'localhost');
  const scripts = new Map<Endpoint, Script[]>();
  const requests: ShimRequest[] = [];
  let origin = '';
  let base = '';
  let agent = new Agent();
  const forwardTo = (directoryUrl: string, trustedRoot: string): void => {
    origin = new URL(directoryUrl).origin;
    agent = new Agent({ connect: { ca: readFileSync(trustedRoot, 'utf8') } });
  };
  forwardTo(pebble.directoryUrl, pebble.trustedRoot);

  const forward = async (request: IncomingMessage, body: Buffer, endpoint: Endpoint): Promise<ShimAnswer> => {
    const response = await send(`${origin}${request.url}`, {
      dispatcher: agent,
      method: request.method === 'POST' ? 'POST' : request.method === 'HEAD' ? 'HEAD' : 'GET',
      headers: {
        host: new URL(base).host,
        'content-type': request.headers['content-type'] ?? '',
        'user-agent': 'shim',
      },
      body: request.method === 'POST' ? body : null,
    });
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(response.headers)) {
      const ours = name === 'content-length' || name === 'connection' || name === 'transfer-encoding';
      if (value !== undefined && !ours) headers[name] = Array.isArray(value) ? value.join(', ') : value;
    }
    const answer = { status: response.statusCode, headers, body: await response.body.text() };
    return endpoint === 'directory' ? extended(answer) : answer;
  };

  const extended = (answer: ShimAnswer): ShimAnswer => {
    const directory = JSON.parse(answer.body) as Record<string, unknown>;
    const profiles = Object.fromEntries((options.profiles ?? []).map((name) => [name, `https://localhost/${name}`]));
    const meta = {
      ...(directory['meta'] as Record<string, unknown>),
      ...(options.profiles === undefined ? {} : { profiles }),
      ...options.meta,
    };
    const more = options.renewalInfo === true ? { renewalInfo: `${base}/renewal-info` } : {};
    return { ...answer, body: JSON.stringify({ ...directory, meta, ...more }) };
  };

  /** Even a refusal brings the next nonce (RFC 8555 section 6.5), and a bad one must be replaced by a good one. */
  const freshNonce = async (): Promise<string> => {
    const response = await send(`${origin}/nonce-plz`, { dispatcher: agent, method: 'HEAD' });
    await response.body.dump();
    return String(response.headers['replay-nonce']);
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const endpoint = endpointOf(request.url ?? '');
    const seen: ShimRequest = {
      endpoint,
      method: request.method ?? '',
      path: request.url ?? '',
      payload: payloadOf(body),
      at: Date.now(),
    };
    requests.push(seen);
    const script = scripts.get(endpoint)?.find(({ left, when }) => left > 0 && when(seen));
    if (script !== undefined) script.left--;
    const behaviour = script?.behaviour ?? null;
    if (behaviour?.kind === 'stall') return;
    if (behaviour?.kind === 'reset') return void request.socket.destroy();
    let answer: ShimAnswer;
    if (behaviour?.kind === 'answer') {
      const nonce = request.method === 'POST' ? { 'replay-nonce': await freshNonce() } : {};
      answer = { ...behaviour.answer, headers: { ...nonce, ...behaviour.answer.headers } };
    } else if (endpoint === 'renewalInfo') {
      answer = { status: 404, headers: {}, body: '' };
    } else {
      answer = await forward(request, body, endpoint);
    }
    if (behaviour?.kind === 'rewrite') answer = behaviour.change(answer);
    response.writeHead(answer.status, answer.headers);
    response.end(request.method === 'HEAD' ? '' : answer.body);
  };

  const server = https.createServer(
    { key: readFileSync(key), cert: readFileSync(certificate) },
    (request, response) => {
      serve(request, response).catch(() => request.socket.destroy());
    },
  );
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  base = `https://localhost:${(server.address() as AddressInfo).port}`;
  return {
    directoryUrl: `${base}/dir`,
    trustedRoot: certificate,
    requests,
    count: (endpoint) => requests.filter((request) => request.endpoint === endpoint).length,
    script: (endpoint, behaviour, { times = Infinity, when = () => true } = {}) => {
      scripts.set(endpoint, [...(scripts.get(endpoint) ?? []), { behaviour, when, left: times }]);
    },
    clear: (endpoint) => void (endpoint === undefined ? scripts.clear() : scripts.delete(endpoint)),
    forwardTo,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await agent.destroy();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** By Pebble's paths. */
const PATHS: readonly (readonly [string, Endpoint])[] = [
  ['/dir', 'directory'],
  ['/nonce-plz', 'newNonce'],
  ['/sign-me-up', 'newAccount'],
  ['/order-plz', 'newOrder'],
  ['/my-account/', 'account'],
  ['/my-order/', 'order'],
  ['/authZ/', 'authorization'],
  ['/chalZ/', 'challenge'],
  ['/finalize-order/', 'finalize'],
  ['/certZ/', 'certificate'],
  ['/revoke-cert', 'revokeCert'],
  ['/rollover-account-key', 'keyChange'],
  ['/renewal-info/', 'renewalInfo'],
];

function endpointOf(url: string): Endpoint {
  return PATHS.find(([prefix]) => url.startsWith(prefix))?.[1] ?? 'other';
}

function payloadOf(body: Buffer): ShimRequest['payload'] {
  if (body.length === 0) return null;
  const { payload } = JSON.parse(body.toString()) as { readonly payload: string };
  return payload === '' ? null : (JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>);
}
