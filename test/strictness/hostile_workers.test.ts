/**
 * Workers that answer wrongly, by accident or on purpose: their own client gets a 502 or a cut answer, soon; nobody else
 * gets a byte of it, and no process ends.
 */
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { readAnswers } from '../support/answers.ts';
import type { Answer } from '../support/answers.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { inLanes } from '../support/lanes.ts';
import { startRawUpstream } from '../support/raw_upstream.ts';
import type { RawUpstream, Received } from '../support/raw_upstream.ts';
import { show } from '../support/strictness.ts';
import { sleep } from '../../src/lifecycle.ts';
import { POISON, WORKER_CASES } from './worker_cases.ts';
import type { Wanted, WorkerCase } from './worker_cases.ts';

const RESPONSE_MS = 1_000;
/** Generous: a hang has no end at all. */
const HANG_MS = 15_000;

let upstream: RawUpstream;
let daemon: Daemon;

before(async () => {
  upstream = await startRawUpstream(answer);
  daemon = await startDaemon({
    config: `proxy_processes: 1
logging: { access: false }
sites: [{ hosts: ["*"], tls: off, redirect_https: false, service: web }]
services:
  web:
    upstreams: ["http://127.0.0.1:${upstream.port}"]
    health_check: { interval: 1h }
    timeouts: { response: ${RESPONSE_MS}ms }
`,
  });
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

/** `/good/ID` is answered with its own target, `/bad/N` as case N wants it, `/stall` in part. */
async function answer({ connection, message }: Received): Promise<void> {
  const bad = /^\/bad\/(\d+)$/.exec(message.target);
  if (bad !== null) return await WORKER_CASES[Number(bad[1])]?.act(connection.socket);
  const { target } = message;
  if (target === '/stall') {
    connection.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello');
    return;
  }
  connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`, 'latin1');
}

interface Heard {
  readonly text: string;
  readonly answers: readonly Answer[];
  readonly rest: string;
  readonly ended: boolean;
  readonly ms: number;
}

/** Sends requests on one connection, at once, until all are answered or the proxy ends it. */
function converse(requests: readonly (readonly [method: string, target: string])[]): Promise<Heard> {
  return new Promise((resolve) => {
    const started = performance.now();
    const methods = requests.map(([method]) => method);
    const socket = net.connect(daemon.ports.http, '127.0.0.1');
    let text = '';
    let ended = false;
    const finish = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text, ...readAnswers(text, methods, ended), ended, ms: performance.now() - started });
    };
    const timer = setTimeout(finish, HANG_MS);
    socket.write(requests.map(([method, target]) => `${method} ${target} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''));
    socket.on('error', () => {});
    socket.on('close', () => {
      ended = true;
      finish();
    });
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const { answers, rest } = readAnswers(text, methods);
      if (answers.length >= methods.length && rest === '') finish();
    });
  });
}

/** What is wrong with what the client of a hostile worker got; null: nothing. */
function problemWith(wanted: Wanted, { answers: [first], rest, ended, text }: Heard): string | null {
  if (text.includes(POISON)) return 'it got what must reach no client';
  if (first === undefined && !ended) return 'it hangs';
  const status = first?.status ?? 0;
  if (wanted === 'cut') {
    const cut = first === undefined && ended && rest.startsWith('HTTP/1.1 200 ');
    return cut || status === 502 ? null : 'neither cut nor 502';
  }
  if (wanted === 'refused') return status === 502 ? null : `wanted 502`;
  if (wanted === 'late') return status === 504 ? null : `wanted 504`;
  return status === wanted.status && first?.body === wanted.body ? null : `wanted ${JSON.stringify(wanted)}`;
}

async function good(id: string): Promise<string | null> {
  const target = `/good/${id}`;
  const { answers, text } = await converse([['GET', target]]);
  return answers[0]?.status === 200 && answers[0].body === target && !text.includes(POISON) ? null : show(text);
}

test(`rules 18 and 20: ${WORKER_CASES.length} hostile answers reach their own client only, as 502, 504 or cut (RFC 9112 section 6.3)`, async (t) => {
  const problems: string[] = [];
  let slowest = 0;
  let bystanders = 0;
  const over = new AbortController();
  const victims = Array.from({ length: 4 }, async (_, lane) => {
    for (let turn = 0; !over.signal.aborted; turn++) {
      const problem = await good(`${lane}-${turn}`);
      if (problem !== null) problems.push(`a bystander got ${problem}`);
      bystanders++;
      await sleep(1);
    }
  });
  const check = async (one: WorkerCase, index: number): Promise<void> => {
    const hostile = [one.method, `/bad/${index}`] as const;
    // Alone, and with a request behind it that must not get what is left of it.
    for (const behind of [[], [['GET', `/good/behind-${index}`] as const]]) {
      const heard = await converse([hostile, ...behind]);
      const problem = problemWith(one.wanted, heard);
      if (problem !== null) problems.push(`${one.name}: ${problem}, got ${show(heard.text)}`);
      const [, second] = heard.answers;
      if (second !== undefined && second.body !== `/good/behind-${index}`)
        problems.push(`${one.name}: ${show(heard.text)}`);
      if (one.wanted !== 'late') slowest = Math.max(slowest, heard.ms);
    }
  };
  await inLanes(WORKER_CASES, 8, check);
  over.abort();
  await Promise.all(victims);
  assert.deepEqual(problems.slice(0, 20), [], `${problems.length} problems`);
  t.diagnostic(`${bystanders} requests of bystanders; the slowest answer took ${Math.round(slowest)} ms`);
  assert.ok(bystanders > 20);
});

test('one that speaks unasked on an idle connection loses it, and the next client gets its own answer', async () => {
  for (const bytes of [
    'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON',
    'POISON',
    '\r\n',
    'HTTP/1.1 408 Request Timeout\r\n\r\n',
  ]) {
    assert.equal(await good('before'), null);
    const open = upstream.connections.filter(({ closed }) => !closed);
    assert.ok(open.length > 0);
    for (const { socket } of open) socket.write(bytes);
    await eventually(() => open.every(({ closed }) => closed));
    assert.equal(await good('after'), null);
  }
});

test('one that stops in the middle of an answer loses its connection when the client leaves', async () => {
  const client = net.connect(daemon.ports.http, '127.0.0.1');
  let text = '';
  client.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  client.write('GET /stall HTTP/1.1\r\nHost: a\r\n\r\n');
  await eventually(() => text.endsWith('hello'));
  const { connection } = upstream.received.findLast(({ message }) => message.target === '/stall') ?? assert.fail();
  assert.equal(connection.closed, false);
  client.destroy();
  await eventually(() => connection.closed);
});

test('no process of the proxy ended meanwhile', async () => {
  assert.deepEqual(daemon.events('proxy_exited'), []);
  assert.ok((await daemon.status()).proxies.every(({ state }) => state === 'ready'));
});
