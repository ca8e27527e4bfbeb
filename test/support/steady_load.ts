/** Ordinary clients at a steady rate, and how long each of their requests took from when it was due. */
import { fork } from 'node:child_process';
import path from 'node:path';
import type { Daemon } from './daemon.ts';

export interface SteadyOrder {
  readonly port: number;
  readonly perSecond: number;
  readonly seconds: number;
}

export interface SteadyResult {
  readonly requests: number;
  /** Without an answer of 200. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const PROGRAM = path.join(import.meta.dirname, 'steady_load_process.ts');

/**
 * By turns over HTTP/1.1 that is kept alive, over HTTP/2, and on a new connection of TLS. Requests are sent when they
 * are due, whether or not the ones before were answered, so that a stall is seen by all it delays.
 */
export function steadyLoad(daemon: Daemon, perSecond: number, seconds: number): Promise<SteadyResult> {
  const order: SteadyOrder = { port: daemon.ports.https, perSecond, seconds };
  const child = fork(PROGRAM, [JSON.stringify(order)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    child.once('message', (value) => resolve(value as SteadyResult));
    child.once('exit', (code) => reject(new Error(`the steady load ended with ${code}`)));
  });
}
