/** The process behind `steadyLoad`. */
import http2 from 'node:http2';
import https from 'node:https';
import type { SteadyOrder, SteadyResult } from './steady_load.ts';
import { sleep } from '../../src/lifecycle.ts';

const TIMEOUT_MS = 10_000;

const order = JSON.parse(process.argv[2] ?? '') as SteadyOrder;
const origin = `https://localhost:${order.port}`;
const keepAlive = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
const session = http2.connect(origin, { rejectUnauthorized: false });
session.on('error', () => {});

function overHttp1(agent: https.Agent | false): Promise<number> {
  return new Promise((resolve) => {
    const request = https.get(origin, { agent, rejectUnauthorized: false, timeout: TIMEOUT_MS }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
      response.on('error', () => resolve(0));
    });
    request.on('timeout', () => request.destroy()).on('error', () => resolve(0));
  });
}

function overHttp2(): Promise<number> {
  return new Promise((resolve) => {
    if (session.destroyed) return resolve(0);
    let status = 0;
    const stream = session.request({ ':path': '/' });
    stream.setTimeout(TIMEOUT_MS, () => stream.close());
    stream.on('response', (fields) => (status = Number(fields[':status'])));
    stream.on('error', () => {}).on('close', () => resolve(stream.readableEnded ? status : 0));
    stream.resume().end();
  });
}

const WAYS = [() => overHttp1(keepAlive), overHttp2, () => overHttp1(keepAlive), overHttp2, () => overHttp1(false)];

const tookMs: number[] = [];
let failed = 0;
const count = order.perSecond * order.seconds;
const sent: Promise<void>[] = [];

async function one(index: number, dueAt: number): Promise<void> {
  const status = await (WAYS[index % WAYS.length] ?? overHttp2)();
  tookMs.push(performance.now() - dueAt);
  if (status !== 200) failed++;
}

// Not counted: code is compiled, connections are opened.
await Promise.all(WAYS.map((way) => way()));
const started = performance.now();
for (let index = 0; index < count;) {
  const dueAt = started + (index / order.perSecond) * 1000;
  const early = dueAt - performance.now();
  if (early > 0) await sleep(early);
  else sent.push(one(index++, dueAt));
}
await Promise.all(sent);
const sorted = tookMs.toSorted((a, b) => a - b);
const quantile = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
const result: SteadyResult = {
  requests: count,
  failed,
  p50Ms: quantile(0.5),
  p99Ms: quantile(0.99),
  maxMs: sorted.at(-1) ?? 0,
};
process.send?.(result, undefined, undefined, () => process.exit());
