/** Fetches http-01's path as a CA does (RFC 8555 section 8.3, Let's Encrypt's limits), from one given address. */
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { createAddressSet } from '../../address_set.ts';
import type { PublicPorts } from './context.ts';

const TIMEOUT_MS = 5_000;
const MAX_REDIRECTS = 10;
/** What Let's Encrypt reads of an answer. */
const MAX_BODY = 128;
/** Where a cloud's metadata lives, among others: a stranger's redirect does not lead us there. */
const isLinkLocal = createAddressSet(['169.254.0.0/16', 'fe80::/10']);

export type FetchOutcome =
  | { readonly kind: 'ours'; readonly redirects: readonly string[] }
  /** Nobody there: refused, unreachable, or silent (`ETIMEDOUT`). */
  | { readonly kind: 'no_connection'; readonly code: string; readonly url: string }
  | { readonly kind: 'other'; readonly status: number; readonly server: string; readonly url: string }
  | { readonly kind: 'too_long'; readonly url: string }
  | { readonly kind: 'loop'; readonly urls: readonly string[] }
  /** To where a CA does not follow. */
  | { readonly kind: 'redirect_refused'; readonly url: string; readonly target: string; readonly reason: string };

export interface FetchOptions {
  readonly host: string;
  readonly address: string;
  readonly token: string;
  readonly value: string;
  readonly ports: PublicPorts;
  /** Addresses of a redirect's host, in the order a CA tries them. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  readonly signal: AbortSignal;
}

/** Rejects only with the reason of `signal`. */
export async function fetchChallenge(options: FetchOptions): Promise<FetchOutcome> {
  const { host, ports, signal } = options;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const port = ports.http ?? 80;
  const authority = `${net.isIPv6(host) ? `[${host}]` : host}${port === 80 ? '' : `:${port}`}`;
  let url = new URL(`http://${authority}/.well-known/acme-challenge/${options.token}`);
  const seen: string[] = [];
  for (;;) {
    if (seen.includes(url.href) || seen.length > MAX_REDIRECTS) return { kind: 'loop', urls: [...seen, url.href] };
    seen.push(url.href);
    const target = bareHost(url);
    // A redirect to the same name goes to the same address: each address is judged by itself.
    const address = target === host ? options.address : (await options.resolve(target))[0];
    signal.throwIfAborted();
    if (address === undefined) return refused(seen, url, `${target} has no address`);
    if (isLinkLocal(address)) return refused(seen, url, `${target} is a link-local address`);
    let answer;
    try {
      answer = await get(url, address, deadline);
    } catch (error) {
      signal.throwIfAborted();
      return { kind: 'no_connection', code: deadline.aborted ? 'ETIMEDOUT' : codeOf(error), url: url.href };
    }
    const { status, location, server, body } = answer;
    if (status < 300 || status > 399 || location === undefined) {
      if (status === 200 && body === options.value) return { kind: 'ours', redirects: seen.slice(1) };
      if (status === 200 && body.startsWith(options.value)) return { kind: 'too_long', url: url.href };
      return { kind: 'other', status, server, url: url.href };
    }
    const next = URL.canParse(location, url.href) ? new URL(location, url.href) : null;
    const reason = next === null ? 'it is no URL' : refusal(next, ports);
    if (next === null || reason !== null) {
      return { kind: 'redirect_refused', url: url.href, target: location.slice(0, 200), reason: reason ?? '' };
    }
    url = next;
  }
}

function refused(seen: readonly string[], url: URL, reason: string): FetchOutcome {
  return { kind: 'redirect_refused', url: seen.at(-2) ?? url.href, target: url.href, reason };
}

/** Why a CA would not follow; null: it would. */
export function refusal(target: URL, ports: PublicPorts): string | null {
  if (target.protocol !== 'http:' && target.protocol !== 'https:') return 'a CA follows to http and https alone';
  const byDefault = target.protocol === 'http:' ? 80 : 443;
  const port = target.port === '' ? byDefault : Number(target.port);
  if (port !== 80 && port !== 443 && port !== ports.http && port !== ports.https) {
    return 'a CA follows to the ports 80 and 443 alone';
  }
  if (net.isIP(bareHost(target)) !== 0) return 'a CA follows to names, not to addresses';
  return null;
}

function bareHost(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

interface Got {
  readonly status: number;
  readonly location: string | undefined;
  readonly server: string;
  /** At most one character more than a CA reads. */
  readonly body: string;
}

function get(url: URL, address: string, signal: AbortSignal): Promise<Got> {
  return new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const hostname = bareHost(url);
    const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
    const request = (secure ? https : http).request({
      host: address,
      port,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, 'user-agent': 'proxy (preflight)', accept: '*/*', connection: 'close' },
      agent: false,
      signal,
      // RFC 8555 section 8.3: a certificate on the way proves nothing, so it need not be valid.
      ...(secure ? { rejectUnauthorized: false, servername: net.isIP(hostname) === 0 ? hostname : '' } : {}),
    });
    request.on('error', reject);
    request.on('response', (response) => {
      let body = '';
      const done = (): void => {
        const server = String(response.headers['server'] ?? '').slice(0, 80);
        resolve({ status: response.statusCode ?? 0, location: response.headers.location, server, body });
        request.destroy();
      };
      response.setEncoding('latin1');
      response.on('data', (chunk: string) => {
        body = (body + chunk).slice(0, MAX_BODY + 1);
        if (body.length > MAX_BODY) done();
      });
      response.on('end', done);
      response.on('error', reject);
    });
    request.end();
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'EUNKNOWN';
}
