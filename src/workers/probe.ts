/** One health check of one address: plain HTTP, the whole answer within the time. */
import http from 'node:http';
import { describeError } from '../log.ts';
import type { Address } from '../snapshot.ts';
import { VERSION } from '../version.ts';

export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface ProbeOptions {
  /** null: any complete HTTP answer to `GET /` is good; else 200–399 on this path is. */
  readonly path: string | null;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Never rejects. */
export function probe(address: Address, { path, timeoutMs, signal }: ProbeOptions): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const deadline = AbortSignal.timeout(Math.max(1, timeoutMs));
    const request = http.get({
      ...('path' in address ? { socketPath: address.path } : { host: address.host, port: address.port }),
      path: path ?? '/',
      agent: false,
      signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
      // Names a worker is likely to accept; frameworks that check hosts know this one.
      headers: { host: 'localhost', 'user-agent': `proxy-health-check/${VERSION}`, connection: 'close' },
    });
    const fail = (error: Error): void =>
      resolve({ ok: false, reason: deadline.aborted ? `no answer within ${timeoutMs} ms` : describeError(error) });
    request.on('error', fail);
    request.on('response', (response) => {
      const { statusCode = 0 } = response;
      response.on('error', fail);
      response.on('end', () => {
        if (!response.complete) resolve({ ok: false, reason: 'the answer was cut' });
        else if (path === null || (statusCode >= 200 && statusCode < 400)) resolve({ ok: true });
        else resolve({ ok: false, reason: `${path} answered ${statusCode}` });
      });
      response.resume();
    });
  });
}
