/** How verbs talk to the running daemon. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { Client } from 'undici';
import { NDJSON } from '../control/admin.ts';

export class DaemonUnreachableError extends Error {
  readonly socket: string;
  constructor(socket: string, cause: unknown) {
    super(`no daemon answers on ${socket}: is it running, and is this the right user?`, { cause });
    this.socket = socket;
  }
}

/** What the daemon refused, in its words. */
export class DaemonError extends Error {
  readonly code: string;
  readonly details: readonly string[];
  constructor(code: string, message: string, details: readonly string[]) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Hears what the daemon tells until it is done. */
  readonly onProgress?: (progress: unknown) => void;
}

/**
 * The JSON of the answer. Long actions may take minutes; only the connection is timed. Rejects with `DaemonError`, with
 * `DaemonUnreachableError`, or when `signal` aborts.
 */
export async function callDaemon(
  socket: string,
  method: 'GET' | 'POST',
  path: string,
  body?: Readonly<Record<string, unknown>>,
  { signal, onProgress }: CallOptions = {},
): Promise<unknown> {
  const client = new Client('http://localhost', { socketPath: socket, headersTimeout: 0, bodyTimeout: 0 });
  try {
    const response = await client.request({
      method,
      path,
      headers: {
        ...(onProgress === undefined ? {} : { accept: NDJSON }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(signal === undefined ? {} : { signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (response.headers['content-type'] === NDJSON) return await readLines(response.body, onProgress);
    const value: unknown = await response.body.json();
    if (response.statusCode === 200) return value;
    throw daemonError(value);
  } catch (error) {
    if (error instanceof DaemonError || signal?.aborted) throw error;
    throw new DaemonUnreachableError(socket, error);
  } finally {
    await client.destroy();
  }
}

/** The last line's result; those before are told. */
async function readLines(body: Readable, onProgress?: (progress: unknown) => void): Promise<unknown> {
  for await (const line of createInterface({ input: body })) {
    const value: unknown = JSON.parse(line);
    if (!isRecord(value)) continue;
    if ('result' in value) return value['result'];
    if ('error' in value) throw daemonError(value);
    onProgress?.(value['progress']);
  }
  throw new Error('the daemon ended before it was done');
}

function daemonError(value: unknown): DaemonError {
  const error = isRecord(value) && isRecord(value['error']) ? value['error'] : {};
  const details = Array.isArray(error['details']) ? error['details'].map(String) : [];
  return new DaemonError(String(error['code'] ?? 'unknown'), String(error['message'] ?? 'the daemon refused'), details);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
