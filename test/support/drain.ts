/** What a TERM finds in flight: requests of every kind, how each of them ends, and how new clients fare meanwhile. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { WebSocket } from 'ws';
import { sleep } from '../../src/lifecycle.ts';
import { describeError } from '../../src/log.ts';
import { FIXTURES, RECORDING_SERVICE } from './daemon.ts';
import type { Daemon } from './daemon.ts';
import { eventually } from './eventually.ts';

export function drainConfig(graceMs: number): string {
  return `shutdown: { grace_period: ${graceMs}ms }
sites: [{ hosts: [localhost], routes: [{ path: /socket, service: socket }, { path: /, service: web }] }]${RECORDING_SERVICE}
  socket: { command: [node, websocket_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 1 }
`;
}

export interface DrainPlan {
  /** Requests over HTTP/1.1, each on a connection of its own; every fourth is a POST, every fifth a paced download. */
  readonly http1: number;
  /** Requests over HTTP/2, of the same kinds. */
  readonly http2: number;
  readonly sessions: number;
  /** The longest of them takes so long. */
  readonly longestMs: number;
  /** One more, read at an even pace. */
  readonly downloadBytes: number;
  readonly downloadMs: number;
}

export interface DrainOutcome {
  readonly asked: number;
  /** Of these, at the TERM; the WebSocket is one more. */
  readonly inFlight: number;
  readonly whole: number;
  /** What became of each that is not whole. */
  readonly problems: readonly string[];
  readonly downloadEndedAfterMs: number;
  /** Of the HTTP/2 connections. */
  readonly goaways: number;
  /** Echoes over the WebSocket after the TERM. */
  readonly echoes: number;
  readonly webSocketEndedAfterMs: number;
  /** How connections that were tried meanwhile ended. */
  readonly newcomers: ReadonlyMap<string, number>;
  readonly exitCode: number | null;
  readonly exitedAfterMs: number;
}

/** What is asked, and the length of the body that must come. */
interface Asked {
  readonly method: string;
  readonly target: string;
  readonly id: string;
  readonly length: number;
}

/** Asks for everything, sends TERM when all of it is with the workers, and waits for all ends. */
export async function drainUnderLoad(daemon: Daemon, plan: DrainPlan): Promise<DrainOutcome> {
  const asked = (prefix: string, count: number): Asked[] =>
    Array.from({ length: count }, (_, i) => ask(`${prefix}${i}`, i, plan.longestMs * (0.3 + (0.7 * (i + 1)) / count)));
  const sessions = Array.from({ length: plan.sessions }, () =>
    http2.connect(daemon.origin, { rejectUnauthorized: false }),
  );
  let goaways = 0;
  for (const session of sessions) session.on('error', () => {}).on('goaway', () => goaways++);
  const socket = new WebSocket(`${daemon.origin.replace('https', 'wss')}/socket`, { rejectUnauthorized: false });
  await once(socket, 'message');
  const own = asked('one-', plan.http1);
  const shared = asked('two-', plan.http2);
  let ended = 0;
  const ends = [
    ...own.map((each) => overHttp1(daemon, each)),
    ...shared.map((each, i) => overHttp2(sessions[i % sessions.length], each)),
  ];
  const download = readEvenly(daemon, plan.downloadBytes, plan.downloadMs);
  for (const end of [...ends, download]) void end.then(() => ended++);
  await eventually(() => executed(daemon) === own.length + shared.length + 1, { withinMs: 20_000 });

  const inFlight = ends.length + 1 - ended;
  const termAt = performance.now();
  const since = (): number => Math.round(performance.now() - termAt);
  let [echoes, webSocketEndedAfterMs, downloadEndedAfterMs] = [0, 0, 0];
  socket.on('message', () => echoes++).on('close', () => (webSocketEndedAfterMs = since()));
  socket.on('error', () => {});
  const chatter = setInterval(() => socket.readyState === WebSocket.OPEN && socket.send('still here'), 100);
  daemon.child.kill('SIGTERM');
  await eventually(() => daemon.events('stopping').length === 1);
  const over = new AbortController();
  const newcomers = knock(daemon, over.signal);
  const results = await Promise.all([...ends, download.finally(() => (downloadEndedAfterMs = since()))]);
  const exitCode = await daemon.exited;
  const exitedAfterMs = since();
  over.abort();
  clearInterval(chatter);
  socket.terminate();
  for (const session of sessions) session.destroy();
  const problems = results.filter((problem) => problem !== null);
  return {
    asked: results.length,
    inFlight,
    whole: results.length - problems.length,
    problems,
    downloadEndedAfterMs,
    goaways,
    echoes,
    webSocketEndedAfterMs,
    newcomers: await newcomers,
    exitCode,
    exitedAfterMs,
  };
}

function ask(id: string, index: number, durationMs: number): Asked {
  if (index % 5 === 4) {
    const blocks = 10;
    const pause = Math.round(durationMs / blocks);
    const length = blocks * 64 * 1024;
    const target = `/bytes?size=${length}&pause=${pause}${index % 2 === 0 ? '&chunked' : ''}`;
    return { method: 'GET', target, id, length };
  }
  const target = `/slow?ms=${Math.round(durationMs)}`;
  return { method: index % 4 === 3 ? 'POST' : 'GET', target, id, length: `slow ${id}`.length };
}

/** How many requests have reached a worker. */
function executed(daemon: Daemon): number {
  try {
    return readFileSync(`${daemon.folder}/shared/executed`, 'utf8').split('\n').length - 1;
  } catch {
    return 0;
  }
}

/** Resolves with null when the answer came whole, else with what happened. */
function overHttp1(daemon: Daemon, { method, target, id, length }: Asked): Promise<string | null> {
  return new Promise((resolve) => {
    const told = (what: string): void => resolve(`HTTP/1.1 ${method} ${target}: ${what}`);
    const options = { method, agent: false, rejectUnauthorized: false, headers: { 'x-id': id } };
    const request = https.request(daemon.origin + target, options, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => (bytes += chunk.length));
      response.on('error', (error) => told(`${error.message} after ${bytes} of ${length} bytes`));
      response.on('end', () => {
        if (response.statusCode === 200 && bytes === length) resolve(null);
        else told(`${response.statusCode}, ${bytes} of ${length} bytes`);
      });
    });
    request.on('error', (error) => told(error.message));
    request.end(method === 'POST' ? 'x' : undefined);
  });
}

function overHttp2(
  session: http2.ClientHttp2Session | undefined,
  { method, target, id, length }: Asked,
): Promise<string | null> {
  return new Promise((resolve) => {
    const told = (what: string): void => resolve(`HTTP/2 ${method} ${target}: ${what}`);
    if (session === undefined) return told('no session');
    const stream = session.request({ ':method': method, ':path': target, 'x-id': id }, { endStream: method === 'GET' });
    let [status, bytes, ended] = [0, 0, false];
    stream.on('response', (headers) => (status = headers[':status'] ?? 0));
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    stream.on('end', () => (ended = true)).on('error', () => {});
    stream.on('close', () => {
      if (status === 200 && ended && stream.rstCode === 0 && bytes === length) resolve(null);
      else told(`${status}, ${bytes} of ${length} bytes, reset with ${stream.rstCode}`);
    });
    if (method !== 'GET') stream.end('x');
  });
}

/** A download whose reader takes an even share every 50 ms, so that much of it waits for him. */
async function readEvenly(daemon: Daemon, size: number, ms: number): Promise<string | null> {
  const socket = tls.connect({
    port: daemon.ports.https,
    host: '127.0.0.1',
    servername: 'localhost',
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  const end = new Promise<string>((resolve) => {
    socket.on('end', () => resolve('end')).on('close', () => resolve('reset'));
  });
  socket.write(`GET /bytes?size=${size} HTTP/1.1\r\nHost: localhost\r\nX-Id: download\r\n\r\n`);
  const share = (size * 50) / ms;
  let [allowed, received] = [0, 0];
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received >= allowed) socket.pause();
  });
  const pace = setInterval(() => {
    allowed += share;
    socket.resume();
  }, 50);
  const how = await end;
  clearInterval(pace);
  socket.destroy();
  return how === 'end' && received > size ? null : `download: ${how} after ${received} of ${size} bytes and a head`;
}

/** Tries a new connection every so often until `signal` aborts. */
async function knock(daemon: Daemon, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const outcomes = new Map<string, number>();
  const tries: Promise<void>[] = [];
  while (!signal.aborted) {
    tries.push(tryOnce(daemon).then((outcome) => void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)));
    await sleep(20, signal);
  }
  await Promise.all(tries);
  return outcomes;
}

async function tryOnce(daemon: Daemon): Promise<'refused' | 'answered' | string> {
  const raw = net.connect({ port: daemon.ports.https, host: '127.0.0.1' });
  try {
    await once(raw, 'connect');
    const socket = tls.connect({ socket: raw, servername: 'localhost', rejectUnauthorized: false });
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const patience = AbortSignal.timeout(2_000);
    const [chunk] = (await Promise.race([
      once(socket, 'data', { signal: patience }),
      once(socket, 'close', { signal: patience }),
    ])) as [Buffer | boolean];
    if (!Buffer.isBuffer(chunk)) return 'closed';
    return chunk.toString('latin1').startsWith('HTTP/1.1 200') ? 'answered' : chunk.toString('latin1', 0, 12);
  } catch (error) {
    const text = describeError(error);
    return text.includes('ECONNREFUSED') ? 'refused' : text;
  } finally {
    raw.destroy();
  }
}
