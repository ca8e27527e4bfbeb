/**
 * The admin API: JSON over HTTP on a Unix socket only the daemon's user may open. Every answer that is not a success has
 * the form `{ "error": { "code", "message", "details" } }`, and the message says what to do. Whoever accepts
 * `application/x-ndjson` gets lines: `{ "progress" }` as often as there is something to tell, at the end `{ "result" }` or
 * `{ "error" }`, always with status 200.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { tellDefect } from '../defects.ts';
import { within } from '../lifecycle.ts';
import type { Logger } from '../log.ts';
import { describeError } from '../log.ts';

const MAX_BODY = 64 * 1024;
export const NDJSON = 'application/x-ndjson';
/** Bytes for a caller that reads slowly; beyond them it misses what is told. */
const MAX_UNREAD = 1024 * 1024;
/** For callers to take their answers when the server closes. */
const CLOSING_MS = 1_000;

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

/**
 * Handles one verb: what it returns is the answer's JSON. Expected failures are thrown as `AdminError`. `input` is the body
 * or the query, `signal` aborts when the caller is gone or must go, `tell` is how it hears what goes on meanwhile.
 */
export type AdminHandler = (
  input: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
  tell: (progress: unknown) => void,
) => Promise<unknown>;

export interface AdminVerb {
  /** The keys its input may have: any other is refused, as it may be one of these, misspelt. */
  readonly takes: readonly string[];
  readonly handle: AdminHandler;
}

export function taking(takes: readonly string[], handle: AdminHandler): AdminVerb {
  return { takes, handle };
}

export interface AdminServer extends AsyncDisposable {
  readonly path: string;
}

/** `verbs` by `METHOD /path`. */
export async function startAdminServer(
  socketPath: string,
  verbs: Readonly<Record<string, AdminVerb>>,
  log: Logger,
): Promise<AdminServer> {
  mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o755 });
  // The runtime directory's lock is ours: what is left here belongs to nobody.
  rmSync(socketPath, { force: true });

  const closing = new AbortController();
  const server = http.createServer({ maxHeaderSize: 8 * 1024 }, (request, response) => {
    answer(request, response).catch((error: unknown) => {
      tellDefect(log, error);
      response.destroy();
    });
  });

  const handle = async (
    request: http.IncomingMessage,
    signal: AbortSignal,
    tell: (progress: unknown) => void,
  ): Promise<AdminReply> => {
    try {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost');
      const verb = verbs[`${request.method} ${pathname}`];
      if (verb === undefined) {
        const known = Object.keys(verbs);
        throw known.some((key) => key.endsWith(` ${pathname}`))
          ? new AdminError(405, 'method_not_allowed', `${request.method} is not a method of ${pathname}`)
          : new AdminError(404, 'not_found', `${pathname} is not part of this API; what is:`, known);
      }
      const input = request.method === 'GET' ? Object.fromEntries(searchParams) : await readJson(request);
      refuseUnknown(input, verb.takes);
      return { status: 200, body: await verb.handle(input, signal, tell) };
    } catch (error) {
      return errorReply(error, log);
    }
  };

  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const gone = new AbortController();
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    response.on('close', () => gone.abort());
    const line = (value: unknown): string => `${JSON.stringify(value)}\n`;
    if (request.headers.accept === NDJSON) {
      response.writeHead(200, { 'content-type': NDJSON });
      response.flushHeaders();
      const { status, body } = await handle(request, signal, (progress) => {
        if (response.writableLength < MAX_UNREAD) response.write(line({ progress }));
      });
      response.end(line(status === 200 ? { result: body } : body));
      return;
    }
    const { status, body } = await handle(request, signal, () => {});
    const text = line(body);
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
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
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Who follows something goes on for ever otherwise.
      closing.abort();
      server.closeIdleConnections();
      await within(closed, CLOSING_MS, undefined);
      server.closeAllConnections();
    },
  };
}

function errorReply(error: unknown, log: Logger): AdminReply {
  if (error instanceof AdminError) {
    const { status, code, message, details } = error;
    return { status, body: { error: { code, message, details } } };
  }
  tellDefect(log, error);
  return { status: 500, body: { error: { code: 'internal', message: describeError(error), details: [] } } };
}

function refuseUnknown(input: Readonly<Record<string, unknown>>, takes: readonly string[]): void {
  const unknown = Object.keys(input).filter((key) => !takes.includes(key));
  if (unknown.length === 0) return;
  const told = unknown.map((key) => JSON.stringify(key.slice(0, 100))).join(', ');
  const known = takes.length === 0 ? 'this takes none' : `this takes ${takes.join(', ')}`;
  throw new AdminError(400, 'unknown_key', `there is no ${told}; ${known}`);
}

/** The value of a switch that is off without it. */
export function flag(input: Readonly<Record<string, unknown>>, key: string): boolean {
  const { [key]: value = false } = input;
  if (typeof value !== 'boolean') throw new AdminError(400, 'bad_request', `"${key}" must be true or false`);
  return value;
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
