/**
 * The admin API: JSON over HTTP on a Unix socket only the daemon's user may open. Every answer that is not a success has
 * the form `{ "error": { "code", "message", "details" } }`, and the message says what to do.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import type { Logger } from '../log.ts';
import { describeError } from '../log.ts';

const MAX_BODY = 64 * 1024;

export interface AdminReply {
  readonly status: number;
  readonly body: unknown;
}

export class AdminError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: readonly string[];
  constructor(status: number, code: string, message: string, details: readonly string[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** Handles one verb: what it returns is the answer's JSON. Expected failures are thrown as `AdminError`. */
export type AdminHandler = (input: Readonly<Record<string, unknown>>, signal: AbortSignal) => Promise<unknown>;

export interface AdminServer extends AsyncDisposable {
  readonly path: string;
}

/** `handlers` by `METHOD /path`. */
export async function startAdminServer(
  socketPath: string,
  handlers: Readonly<Record<string, AdminHandler>>,
  log: Logger,
): Promise<AdminServer> {
  mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o755 });
  // The runtime directory's lock is ours: what is left here belongs to nobody.
  rmSync(socketPath, { force: true });
  const paths = new Set(Object.keys(handlers).map((key) => key.split(' ')[1]));

  const server = http.createServer({ maxHeaderSize: 8 * 1024 }, (request, response) => {
    void answer(request, response);
  });

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    let reply: AdminReply;
    try {
      const pathname = (request.url ?? '').split('?', 1)[0] ?? '';
      const handler = handlers[`${request.method} ${pathname}`];
      if (handler === undefined) {
        throw paths.has(pathname)
          ? new AdminError(405, 'method_not_allowed', `${request.method} is not a method of ${pathname}`)
          : new AdminError(404, 'not_found', `${pathname} is not part of this API; see the README`);
      }
      reply = { status: 200, body: await handler(await readJson(request), gone.signal) };
    } catch (error) {
      reply = errorReply(error, log);
    }
    const text = `${JSON.stringify(reply.body)}\n`;
    response.writeHead(reply.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  };

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // The socket must never exist with wider rights, not even for a moment.
    const umask = process.umask(0o177);
    server.listen(socketPath, () => resolve());
    process.umask(umask);
  });
  chmodSync(socketPath, 0o600);
  return {
    path: socketPath,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

function errorReply(error: unknown, log: Logger): AdminReply {
  if (error instanceof AdminError) {
    const { status, code, message, details } = error;
    return { status, body: { error: { code, message, details } } };
  }
  log.error('admin_request_failed', { error });
  return { status: 500, body: { error: { code: 'internal', message: describeError(error), details: [] } } };
}

async function readJson(request: http.IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  let text = '';
  request.setEncoding('utf8');
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > MAX_BODY) throw new AdminError(413, 'too_large', 'the request body is too large');
  }
  if (text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new AdminError(400, 'bad_json', 'the request body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new AdminError(400, 'bad_json', 'the request body must be a JSON object');
  }
  return { ...value };
}
