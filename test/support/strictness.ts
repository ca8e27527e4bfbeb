/**
 * Sends bytes through a running proxy and judges, by what its client and its upstream saw, whether it let anything
 * through that it should not have.
 */
import net from 'node:net';
import { closes, readAnswers, valueOf } from './answers.ts';
import type { Answer } from './answers.ts';
import type { RawUpstream, Received } from './raw_upstream.ts';
import { listOf, readAll, valuesOf } from './strict_reader.ts';
import type { Message, Sent } from './strict_reader.ts';
import { sleep } from '../../src/lifecycle.ts';

/**
 * EXTRA: more requests reached the upstream than a strict reader finds in what the client sent, or nobody's. INVALID and
 * AMBIG: what reached it is not valid, or may be read in two ways. ALTERED: it is not what the client said. HANG: the
 * client got neither its answers nor an end. UNREFUSED: what was not forwarded was not refused as it must be.
 */
export type Fault = 'EXTRA' | 'INVALID' | 'AMBIG' | 'ALTERED' | 'HANG' | 'UNREFUSED';

export interface Finding {
  readonly fault: Fault;
  readonly why: string;
}

export interface Exchanged {
  readonly bytes: string;
  readonly sent: Sent;
  readonly answers: readonly Answer[];
  /** The proxy ended the connection. */
  readonly ended: boolean;
  readonly hung: boolean;
}

/** Generous: the machines that run this are busy. */
const HANG_MS = 15_000;

let clients = 0;

export interface SendOptions {
  /** The bytes as they are to be written one after the other. */
  readonly pieces?: readonly string[];
  /** When all is answered that can be, and what follows is incomplete: go, instead of waiting for the proxy's patience. */
  readonly leave?: boolean;
  readonly hangMs?: number;
}

/** One client: sends `bytes`, in pieces if so wanted, and listens until all is answered or the proxy ends it. */
export function sendBytes(
  port: number,
  bytes: string,
  { pieces = [bytes], leave = false, hangMs = HANG_MS }: SendOptions = {},
): Promise<Exchanged> {
  const sent = readAll(bytes);
  const methods = sent.messages.map(({ method }) => method);
  return new Promise((resolve) => {
    // Ports run out when tens of thousands of connections were closed within a minute; addresses do not.
    const localAddress = `127.0.${1 + (clients % 200)}.${1 + (Math.floor(clients++ / 200) % 200)}`;
    const socket = net.connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
    let text = '';
    let ended = false;
    const finish = (hung: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ bytes, sent, answers: readAnswers(text, methods, ended).answers, ended, hung });
    };
    const timer = setTimeout(() => finish(true), hangMs);
    let written = false;
    const leaveIfDone = (): void => {
      if (!leave || !written || sent.rest !== 'incomplete') return;
      if (readAnswers(text, methods).answers.length >= methods.length) socket.end();
    };
    socket.on('connect', async () => {
      await sendPieces(socket, pieces);
      written = true;
      leaveIfDone();
    });
    socket.on('error', () => {});
    socket.on('end', () => (ended = true));
    socket.on('close', () => {
      ended = true;
      finish(false);
    });
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      leaveIfDone();
      if (sent.rest !== 'nothing') return;
      const { answers } = readAnswers(text, methods);
      if (answers.length >= methods.length && !answers.some(closes)) finish(false);
    });
  });
}

async function sendPieces(socket: net.Socket, pieces: readonly string[]): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    socket.write(piece, 'latin1');
    if (pieces.length > 1) await sleep(1);
  }
}

/** Which of the upstream's messages it answers; null for an answer of the proxy's own. */
function seqOf(answer: Answer): number | null {
  const seq = valueOf(answer, 'x-seq');
  return seq === undefined ? null : Number(seq);
}

/** What is wrong with one exchange, and which of the upstream's messages were its own. */
export function judge(
  { sent, answers, ended, hung }: Exchanged,
  upstream: RawUpstream,
): { readonly findings: readonly Finding[]; readonly forwarded: readonly Received[] } {
  const findings: Finding[] = [];
  const find = (fault: Fault, why: string): void => void findings.push({ fault, why });
  const forwarded = answers.flatMap((answer) => upstream.received[seqOf(answer) ?? -1] ?? []);
  if (hung) find('HANG', `after ${answers.map(({ status }) => status).join(', ')}`);
  if (forwarded.length > sent.messages.length) find('EXTRA', `${forwarded.length} of ${sent.messages.length}`);
  forwarded.forEach(({ message }, i) => {
    const original = sent.messages[i];
    findings.push(...judgeForwarded(original, message));
  });
  const own = answers.filter((answer) => seqOf(answer) === null);
  const whole = forwarded.length >= sent.messages.length;
  if (own.length > 1 || (own.length === 1 && answers.at(-1) !== own[0]))
    find('UNREFUSED', 'it went on after a refusal');
  if (!hung && own.length === 0 && (!whole || !(ended || sent.rest === 'nothing'))) {
    find('UNREFUSED', 'neither answered nor refused');
  }
  for (const answer of own) {
    if (answer.status < 400 || !closes(answer) || !ended) {
      find('UNREFUSED', `${answer.status}, ${ended ? 'ended' : 'not ended'}`);
    }
  }
  return { findings, forwarded };
}

/** What is wrong with a message that was forwarded for what a client said. */
export function judgeForwarded(original: Message | undefined, forwarded: Message): readonly Finding[] {
  const altered = original === undefined ? [] : differences(original, forwarded);
  return [
    ...altered.map((why): Finding => ({ fault: 'ALTERED', why })),
    ...impurities(forwarded).map((why): Finding => ({ fault: 'INVALID', why })),
  ];
}

/** What is wrong with all the upstream received, beside the messages in `claimed`. */
export function judgeUpstream(upstream: RawUpstream, claimed: readonly Received[]): readonly Finding[] {
  const findings: Finding[] = [];
  const seen = new Set<Received>();
  for (const one of claimed) {
    if (seen.has(one)) findings.push({ fault: 'EXTRA', why: `two clients got one answer: ${show(one.message.raw)}` });
    seen.add(one);
  }
  for (const one of upstream.received) {
    if (!seen.has(one)) findings.push({ fault: 'EXTRA', why: `nobody's request: ${show(one.message.raw)}` });
  }
  for (const { problem, pipelined, rest } of upstream.connections) {
    if (problem !== null) findings.push({ fault: problem.problem, why: `${problem.why}: ${show(rest)}` });
    if (pipelined) findings.push({ fault: 'EXTRA', why: 'two requests at once on a connection' });
  }
  return findings;
}

export function show(bytes: string): string {
  return JSON.stringify(bytes.length > 400 ? `${bytes.slice(0, 400)}… ${bytes.length} bytes` : bytes);
}

const HOP_BY_HOP = new Set(
  (
    'connection keep-alive proxy-connection proxy-authorization te trailer upgrade http2-settings expect forwarded via ' +
    'proxy x-real-ip x-request-id traceparent tracestate host content-length transfer-encoding'
  ).split(' '),
);

/** The fields that concern the worker. */
function endToEnd(message: Message): string[] {
  const nominated = new Set(listOf(message, 'connection'));
  return message.fields
    .filter(([name]) => {
      const key = name.toLowerCase();
      return !HOP_BY_HOP.has(key) && !nominated.has(key) && !/^x-forwarded-|[_.]/.test(key);
    })
    .map(([name, value]) => `${name}: ${value}`);
}

/** What the client said, as the upstream should hear it. */
function differences(original: Message, forwarded: Message): string[] {
  const absolute = /^https?:\/\/([^/?]+)(.*)$/i.exec(original.target);
  const authority = absolute?.[1] ?? valuesOf(original, 'host')[0] ?? '';
  const target = absolute?.[2] ?? original.target;
  // RFC 9112 section 3.2.4.
  const asterisk = original.method === 'OPTIONS' && target === '';
  const wanted = [original.method, asterisk ? '*' : normalTarget(target), authority, original.body];
  const got = [forwarded.method, forwarded.target, valuesOf(forwarded, 'host')[0] ?? '', forwarded.body];
  const all = [...wanted, ...endToEnd(original)].join('\n');
  const allGot = [...got, ...endToEnd(forwarded)].join('\n');
  return all === allGot ? [] : [`wanted ${show(all)}, got ${show(allGot)}`];
}

function normalTarget(target: string): string {
  if (target === '*') return target;
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  return (removeDotSegments(path) || '/') + (at < 0 ? '' : target.slice(at));
}

/** RFC 3986 section 5.2.4, to the letter, for `%2e` too. */
function removeDotSegments(path: string): string {
  let input = path.replace(/(?<=\/)(?:%2e|\.){1,2}(?=\/|$)/gi, (dots) => dots.replace(/%2e/gi, '.'));
  let output = '';
  while (input !== '') {
    if (input.startsWith('/./') || input === '/.') {
      input = `/${input.slice(3)}`;
    } else if (input.startsWith('/../') || input === '/..') {
      input = `/${input.slice(4)}`;
      output = output.slice(0, Math.max(0, output.lastIndexOf('/')));
    } else {
      const segment = /^\/?[^/]*/.exec(input)?.[0] ?? '';
      output += segment;
      input = input.slice(segment.length);
    }
  }
  return output;
}

/** What a proxy must not pass on although RFC 9112 allows it to be said. */
function impurities(message: Message): string[] {
  const found: string[] = [];
  const head = `${message.method} ${message.target} HTTP/1.1\r\n${message.fields.map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n`;
  if (!message.raw.startsWith(head)) found.push('the head is not in its plainest form');
  if (!/^(?:\/|\*$)/.test(message.target)) found.push(`the target ${message.target}`);
  if (message.decorated) found.push('chunk extensions or trailers');
  for (const [name, value] of message.fields) {
    const key = name.toLowerCase();
    if (key === 'content-length' && value !== String(Number(value))) found.push(`Content-Length: ${value}`);
    if (key === 'transfer-encoding' && value !== 'chunked') found.push(`Transfer-Encoding: ${value}`);
    if (
      /^(?:connection|keep-alive|proxy-connection|proxy-authorization|te|trailer|upgrade|http2-settings|expect|proxy)$|[_.]/.test(
        key,
      )
    ) {
      found.push(`${name}: ${value}`);
    }
  }
  return found;
}
