/** HTTP on the metrics address: pages to read, nothing to change, for whoever may ask. */
import http from 'node:http';
import type net from 'node:net';
import { tellDefect } from '../../defects.ts';
import { isLoopback } from '../../address.ts';
import type { MetricsConfig } from '../../config/config.ts';
import type { Logger } from '../../log.ts';
import { explainBindError } from '../listeners.ts';
import { admit } from './admission.ts';

const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  keepAliveTimeout: 30_000,
  // How often the first two are looked at.
  connectionsCheckingInterval: 1_000,
} as const;
const MAX_CONNECTIONS = 128;

export interface PageRequest {
  readonly url: URL;
  readonly accept: string;
  /** It proved to know the token, or needs none. */
  readonly trusted: boolean;
}

export interface Page {
  /** Others than those who know the token may ask, too. */
  readonly open: boolean;
  /** Answers; what it throws is an event and a 500. */
  respond(request: PageRequest, response: http.ServerResponse): void | Promise<void>;
}

/** By path. */
export type Pages = Readonly<Record<string, Page>>;

export interface MetricsServer {
  readonly config: MetricsConfig;
  /** As bound. */
  readonly port: number;
  /** From now on. */
  setToken(token: string | null): void;
  close(): void;
}

/** Resolves when it listens; rejects with a `ListenError`. `pages` is asked at each request; null: we are starting. */
export async function startMetricsServer(
  config: MetricsConfig,
  pages: () => Pages | null,
  log: Logger,
): Promise<MetricsServer> {
  let { token } = config;
  const loopback = isLoopback(config.host);

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const { host, authorization, accept = '' } = request.headers;
    const admission = admit({ method: request.method ?? '', host, authorization }, { loopback, token });
    if (!admission.ok) {
      if (admission.status === 405) response.setHeader('Allow', 'GET, HEAD');
      return sendText(response, admission.status, `${admission.message}\n`);
    }
    const table = pages();
    if (table === null) return sendText(response, 503, 'it is starting\n');
    const url = parseUrl(request.url);
    const page = url !== null && Object.hasOwn(table, url.pathname) ? table[url.pathname] : undefined;
    if (page?.open !== true && !admission.trusted) {
      response.setHeader('WWW-Authenticate', 'Basic realm="proxy", charset="UTF-8"');
      return sendText(response, 401, 'the token of the configuration is needed: Authorization: Bearer TOKEN\n');
    }
    if (page === undefined || url === null) {
      return sendText(response, 404, `there is nothing here, but at ${Object.keys(table).join(', ')}\n`);
    }
    await page.respond({ url, accept, trusted: admission.trusted }, response);
  };

  const server = http.createServer(LIMITS, (request, response) => {
    response.setHeader('Cache-Control', 'no-store');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    // A body is nothing we read.
    if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined) {
      response.setHeader('Connection', 'close');
    }
    answer(request, response).catch((error: unknown) => {
      tellDefect(log, error);
      if (response.headersSent) response.destroy();
      else sendText(response, 500, 'it failed; the log says why\n');
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  const port = await listen(server, config).catch(async (error: unknown) => {
    throw await explainBindError('metrics', config, error);
  });
  server.on('error', (error) => log.error('metrics_server_failed', { error }));
  return {
    config,
    port,
    setToken: (next) => void (token = next),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

export function sendText(
  response: http.ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

function parseUrl(target: string | undefined): URL | null {
  return target?.startsWith('/') === true ? URL.parse(`http://localhost${target}`) : null;
}

function listen(server: http.Server, { host, port }: MetricsConfig): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, exclusive: true, ...(host === null ? {} : { host }) }, () => {
      server.off('error', reject);
      // Of a server that listens at a port, so it is no string and not null.
      resolve((server.address() as net.AddressInfo).port);
    });
  });
}
