/** Thousands of clients of one manner, in processes of their own: their work must not delay who measures. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import type { Daemon } from './daemon.ts';
import { eventually } from './eventually.ts';

/**
 * silent: connects and says nothing, not even TLS. preface: HTTP/2's preface and no request. slowloris: a head that comes
 * byte by byte. slow_reader: asks for much and reads a little of it now and then. shut_window: asks for much over HTTP/2 and
 * opens its window no further. idle: one request, answered, then nothing.
 */
export type Manner =
  | 'silent'
  | 'preface'
  | 'slowloris'
  | 'slow_reader'
  | 'slow_reader_http2'
  | 'shut_window'
  | 'idle'
  | 'idle_http2';

export interface Order {
  readonly manner: Manner;
  readonly count: number;
  readonly port: number;
  readonly perSecond: number;
  /** Ports run out by address. */
  readonly localAddress: string;
}

/** What became of the connections so far. */
export interface Report {
  /** As they mean to stay. */
  ready: number;
  /** Closed by the other side after they were ready. */
  gone: number;
  /** Closed or refused before. */
  failed: number;
  /** Of those that are gone: from ready to the end. */
  livedMs: number[];
}

export interface Crowd extends Disposable {
  report(): Report;
  /** Resolves when every one is ready or has failed. */
  gathered(withinMs: number): Promise<void>;
  /** Resolves when every one is gone. */
  gone(withinMs: number): Promise<void>;
}

const PROGRAM = path.join(import.meta.dirname, 'crowd_process.ts');
let addresses = 0;

export function gather(
  daemon: Daemon,
  manner: Manner,
  count: number,
  { perSecond, processes = 2 }: { readonly perSecond: number; readonly processes?: number },
): Crowd {
  const reports: Report[] = [];
  const children = Array.from({ length: processes }, (_, i): ChildProcess => {
    const order: Order = {
      manner,
      count: Math.floor(count / processes) + (i < count % processes ? 1 : 0),
      port: daemon.ports.https,
      perSecond: perSecond / processes,
      localAddress: `127.0.0.${2 + (addresses++ % 200)}`,
    };
    const child = fork(PROGRAM, [JSON.stringify(order)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    child.on('message', (value) => (reports[i] = value as Report));
    return child;
  });
  const report = (): Report => {
    const sum = (key: 'ready' | 'gone' | 'failed'): number => reports.reduce((all, one) => all + (one[key] ?? 0), 0);
    return {
      ready: sum('ready'),
      gone: sum('gone'),
      failed: sum('failed'),
      livedMs: reports.flatMap(({ livedMs }) => livedMs),
    };
  };
  const until = async (withinMs: number, done: (report: Report) => boolean): Promise<void> => {
    await eventually(() => done(report()), { withinMs, everyMs: 100 }).catch((error: unknown) => {
      const { ready, gone, failed } = report();
      throw new Error(`${manner}: of ${count} ${ready} ready, ${gone} gone, ${failed} failed`, { cause: error });
    });
  };
  return {
    report,
    gathered: (withinMs) => until(withinMs, ({ ready, failed }) => ready + failed === count),
    gone: (withinMs) => until(withinMs, ({ gone, failed }) => gone + failed === count),
    [Symbol.dispose]: () => {
      for (const child of children) child.kill('SIGKILL');
    },
  };
}
