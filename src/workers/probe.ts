/** One health check of one address: the whole answer within the time. */
import http from 'node:http';
import { createDispatcher, serverNameOption } from '../dispatcher.ts';
import { describeError } from '../log.ts';
import type { Address, TargetEntry } from '../snapshot.ts';
import { VERSION } from '../version.ts';

export type ProbeResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      readonly reason: string;
      /** With another status than is good. */ readonly answered: boolean;
    };

export interface ProbeOptions {
  /** null: any complete HTTP answer to `GET /` is good; else 200–399 on this path is. */
  readonly path: string | null;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Of https and h2: PEM; null: the system's roots. */
  readonly trustedRoots?: string | null;
}

export type Probed = Pick<TargetEntry, 'protocol' | 'address' | 'serverName'>;

/** A worker of ours. */
export function plainTarget(address: Address): Probed {
  return { protocol: 'http', address, serverName: '' };
}

const USER_AGENT = `proxy-health-check/${VERSION}`;

/** Never rejects. */
export async function probe(target: Probed, options: ProbeOptions): Promise<ProbeResult> {
  const { path, timeoutMs } = options;
  const deadline = AbortSignal.timeout(Math.max(1, timeoutMs));
  const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
  try {
    const status =
      target.protocol === 'http'
        ? await askPlain(target.address, path ?? '/', signal)
        : await askForeign(target, target.protocol, signal, options);
    if (path === null || (status >= 200 && status < 400)) return { ok: true };
    return { ok: false, reason: `${path} answered ${status}`, answered: true };
  } catch (error) {
    const reason = deadline.aborted ? `no answer within ${timeoutMs} ms` : describeError(error);
    return { ok: false, reason, answered: false };
  }
}

/** Resolves with the status when the whole answer was read. */
function askPlain(address: Address, path: string, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.get({
      ...('path' in address ? { socketPath: address.path } : { host: address.host, port: address.port }),
      path,
      agent: false,
      signal,
      // Names a worker is likely to accept; frameworks that check hosts know this one.
      headers: { host: 'localhost', 'user-agent': USER_AGENT, connection: 'close' },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      response.on('error', reject);
      response.on('end', () => {
        if (response.complete) resolve(response.statusCode ?? 0);
        else reject(new Error('the answer was cut'));
      });
      response.resume();
    });
  });
}

async function askForeign(
  { address, serverName }: Probed,
  protocol: 'https' | 'h2c' | 'h2',
  signal: AbortSignal,
  { path, timeoutMs, trustedRoots = null }: ProbeOptions,
): Promise<number> {
  if ('path' in address) throw new Error('no upstream of this kind listens on a path');
  const timeouts = { connectTimeoutMs: timeoutMs, idleTimeoutMs: 1 };
  const dispatcher = createDispatcher({ protocol, serverName, trustedRoots, ...address, ...timeouts });
  try {
    const { statusCode, body } = await dispatcher.request({
      path: path ?? '/',
      method: 'GET',
      headers: { host: serverName, 'user-agent': USER_AGENT },
      signal,
      ...serverNameOption(serverName),
    });
    await body.dump();
    return statusCode;
  } finally {
    await dispatcher.destroy();
  }
}
