/** How verbs talk to the running daemon. */
import { Client } from 'undici';

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

/** The JSON of the answer. Long actions may take minutes; only the connection is timed. */
export async function callDaemon(
  socket: string,
  method: 'GET' | 'POST',
  path: string,
  body?: Readonly<Record<string, unknown>>,
  signal?: AbortSignal,
): Promise<unknown> {
  const client = new Client('http://localhost', { socketPath: socket, headersTimeout: 0, bodyTimeout: 0 });
  try {
    const response = await client.request({
      method,
      path,
      ...(signal === undefined ? {} : { signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
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

function daemonError(value: unknown): DaemonError {
  const error = isRecord(value) && isRecord(value['error']) ? value['error'] : {};
  const details = Array.isArray(error['details']) ? error['details'].map(String) : [];
  return new DaemonError(String(error['code'] ?? 'unknown'), String(error['message'] ?? 'the daemon refused'), details);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
