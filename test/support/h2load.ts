/** h2load, of Debian's nghttp2-client: load over HTTP/1.1 and HTTP/2, as much as there can be or at a steady rate. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Daemon } from './daemon.ts';
import { run } from './processes.ts';

export interface H2loadOrder {
  readonly protocol: 'http/1.1' | 'h2';
  readonly connections: number;
  /** Requests at once on each. */
  readonly streams: number;
  readonly seconds: number;
  /** Requests a second of all connections together; without, each is sent when one before is answered. */
  readonly rate?: number;
}

export interface H2loadResult {
  readonly requests: number;
  /** Failed, errored, timed out, or not answered with 200. */
  readonly bad: number;
  readonly perSecond: number;
  /** Milliseconds of each request, in no order. */
  readonly tookMs: readonly number[];
  readonly text: string;
}

export async function h2load(daemon: Daemon, order: H2loadOrder): Promise<H2loadResult> {
  const { protocol, connections, streams, seconds, rate } = order;
  const log = path.join(daemon.folder, `h2load-${protocol.replace('/', '')}.log`);
  const { code, stdout, stderr } = await run('h2load', [
    '-t1',
    `-c${connections}`,
    `-m${streams}`,
    `-D${seconds}`,
    `--npn-list=${protocol}`,
    `--log-file=${log}`,
    ...(rate === undefined ? [] : [`--rps=${rate / connections}`]),
    `${daemon.origin}/`,
  ]);
  assert.equal(code, 0, stdout + stderr);
  assert.ok(stdout.includes(`Application protocol: ${protocol}\n`), stdout);
  const counts = / (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(stdout);
  assert.ok(counts !== null, stdout);
  const [, done = 0, , failed = 0, errored = 0, timeout = 0] = counts.map(Number);
  // Columns: start, status, microseconds until the end of the answer.
  const rows = readFileSync(log, 'latin1')
    .trim()
    .split('\n')
    .map((line) => line.split('\t').map(Number));
  rmSync(log);
  return {
    requests: done,
    bad: failed + errored + timeout + rows.filter(([, status]) => status !== 200).length,
    perSecond: done / seconds,
    tookMs: rows.map(([, , us = Number.NaN]) => us / 1_000),
    text: stdout,
  };
}

/**
 * Latencies as a client sees them that asks at a steady rate and never waits for an answer before it asks again: a
 * connection that was held up has not sent what was due meanwhile, so those requests are added with what was left of
 * their wait (as HdrHistogram does against "coordinated omission").
 */
export function asIfUnhindered({ tookMs }: H2loadResult, { connections, streams, rate }: H2loadOrder): number[] {
  if (rate === undefined) return [...tookMs];
  const dueEveryMs = (connections * streams * 1_000) / rate;
  const all: number[] = [];
  for (const ms of tookMs) for (let left = ms; left > 0; left -= dueEveryMs) all.push(left);
  return all;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = Float64Array.from(values).toSorted();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
