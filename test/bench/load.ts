/** Load by programs everybody has, each figure of theirs checked before it is believed. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { TLS } from './clients/connection.ts';
import type { Contender } from './contenders/contender.ts';
import { run } from '../support/processes.ts';

export interface Tools {
  /** Files of this run. */
  readonly folder: string;
  readonly certificate: string;
}

export interface Answers {
  readonly count: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What OpenSSL's clients offer, the same for all of them. */
export function opensslConfiguration(): string {
  return `openssl_conf = conf
[conf]
ssl_conf = ssl
[ssl]
system_default = system
[system]
MinProtocol = ${TLS.version}
Ciphersuites = ${TLS.cipher}
Groups = ${TLS.group}
`;
}

async function tool(tools: Tools, command: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, OPENSSL_CONF: path.join(tools.folder, 'openssl.cnf') };
  const { code, stdout, stderr } = await run(command, args, { env });
  assert.equal(code, 0, `${command} ${args.join(' ')}: ${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}

/** HTTP/1.1 without pause over `connections`. */
export async function wrk(
  tools: Tools,
  { name, origin }: Contender,
  connections: number,
  seconds: number,
): Promise<Answers> {
  const text = await tool(tools, 'wrk', ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', `${origin}/`]);
  assert.ok(!/Non-2xx|Socket errors/.test(text), `${name}: ${text}`);
  const [, count, took] = /(\d+) requests in (\S+),/.exec(text) ?? [];
  const latency = (percent: number): number =>
    milliseconds(new RegExp(`^ +${percent}%\\s+(\\S+)`, 'm').exec(text)?.[1]);
  assert.ok(Number(count) > 0, `${name}: ${text}`);
  return { count: Number(count), seconds: milliseconds(took) / 1e3, p50Ms: latency(50), p99Ms: latency(99) };
}

export interface H2loadOptions {
  readonly protocol: 'h2' | 'http/1.1';
  readonly connections: number;
  readonly streams: number;
  readonly seconds: number;
  /** Requests a second of all connections; without, as many as there can be. */
  readonly rate?: number;
}

export async function h2load(tools: Tools, { name, origin }: Contender, options: H2loadOptions): Promise<Answers> {
  const { protocol, connections, streams, seconds, rate } = options;
  const log = path.join(tools.folder, 'h2load.log');
  const text = await tool(tools, 'h2load', [
    '-t1',
    `-c${connections}`,
    `-m${streams}`,
    `-D${seconds}`,
    `--log-file=${log}`,
    `--npn-list=${protocol}`,
    ...(rate === undefined ? [] : [`--rps=${rate / connections}`]),
    `${origin}/`,
  ]);
  assert.ok(text.includes(`Application protocol: ${protocol}\n`), `${name}: ${text}`);
  assert.match(text, / 0 failed, 0 errored, 0 timeout/, name);
  assert.match(text, / 0 3xx, 0 4xx, 0 5xx/, name);
  // Columns: start, status, microseconds until the end of the answer.
  const lines = readFileSync(log, 'latin1').trim().split('\n');
  rmSync(log);
  const took = lines.map((line) => {
    const [, status, us] = line.split('\t');
    assert.equal(status, '200', `${name}: ${line}`);
    return Number(us) / 1e3;
  });
  return { count: took.length, seconds, ...percentiles(took) };
}

export interface Transfer {
  readonly bytes: number;
  readonly seconds: number;
}

export async function download(tools: Tools, { name, origin }: Contender, bytes: number): Promise<Transfer> {
  const text = await curl(tools, ['-o', '/dev/null', `${origin}/bytes?size=${bytes}`], 'size_download');
  const [status, version, moved, seconds] = text.split(' ');
  assert.deepEqual([status, version, Number(moved)], ['200', '1.1', bytes], name);
  return { bytes, seconds: Number(seconds) };
}

export async function upload(tools: Tools, { name, origin }: Contender, bytes: number): Promise<Transfer> {
  const file = path.join(tools.folder, `${bytes}-bytes`);
  if (!existsSync(file)) writeFileSync(file, Buffer.alloc(bytes));
  const text = await curl(tools, ['-H', 'Expect:', '-T', file, `${origin}/upload`], 'size_upload');
  const [answer = '', status, version, moved, seconds] = text.split(/(?<=\})| /);
  assert.deepEqual([status, version, Number(moved)], ['200', '1.1', bytes], name);
  assert.deepEqual(JSON.parse(answer), { received: bytes }, name);
  return { bytes, seconds: Number(seconds) };
}

function curl({ folder, certificate }: Tools, args: readonly string[], size: string): Promise<string> {
  const format = `%{http_code} %{http_version} %{${size}} %{time_total}`;
  return tool({ folder, certificate }, 'curl', ['-sS', '--http1.1', '--cacert', certificate, '-w', format, ...args]);
}

/** That a contender does what all are to do; before it is measured. */
export async function checkWork(tools: Tools, { name, origin, port }: Contender): Promise<void> {
  const fields = JSON.parse(
    await tool(tools, 'curl', ['-sS', '--cacert', tools.certificate, `${origin}/head`]),
  ) as Record<string, string>;
  assert.equal(fields['x-forwarded-for'], '127.0.0.1', name);
  assert.equal(fields['x-forwarded-proto'], 'https', name);
  assert.match(fields['x-forwarded-host'] ?? '', /^localhost/, name);
  assert.match(fields['x-request-id'] ?? '', /^[0-9a-fA-F-]{16,}$/, name);
  const session = await tool(tools, 'openssl', [
    's_client',
    '-brief',
    '-connect',
    `127.0.0.1:${port}`,
    '-servername',
    'localhost',
  ]);
  for (const fact of [TLS.version, TLS.cipher, TLS.group, 'ECDSA']) {
    assert.ok(session.includes(fact), `${name}: no ${fact} in ${session}`);
  }
}

export function percentiles(ms: readonly number[]): { readonly p50Ms: number; readonly p99Ms: number } {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** wrk's `1.23ms`, `456.00us`, `2.00s`, `1.00m`. */
function milliseconds(text: string | undefined): number {
  const [, value, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(text ?? '') ?? [];
  return Number(value) * { us: 1e-3, ms: 1, s: 1e3, m: 6e4 }[unit as 'us' | 'ms' | 's' | 'm'];
}
