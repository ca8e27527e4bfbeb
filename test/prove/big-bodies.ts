/** Large bodies stream through: whole, and however large they are and whoever is slow, in the same memory. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { hashOf, writeBody } from '../support/large_body.ts';
import { residentBytes, watchMemory } from '../support/processes.ts';

export const SUMMARY =
  'bodies of 200 MB and 2 GB arrive whole over both protocols, whoever is slow, in bounded memory (SIZE=200000000 LARGE=2000000000)';

const SIZE = Number(process.env['SIZE'] ?? 200_000_000);
const LARGE = Number(process.env['LARGE'] ?? 2_000_000_000);
const WARM_UP = 20_000_000;
const MIB = 1024 * 1024;
const ALLOWED_GROWTH = 32 * MIB;
const ALLOWED_GROWTH_LARGE = 64 * MIB;
/** Bytes a second of who is slow: an eighth or so of what goes through otherwise. */
const SLOW = 40_000_000;
const SLOW_LARGE = 150_000_000;

interface Transfer {
  readonly direction: 'up' | 'down';
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
  readonly slow: 'client' | 'worker';
  readonly rate: number;
}

/** Runs it by curl; returns the hash of what arrived. */
async function transfer(daemon: Daemon, { direction, protocol, slow, rate }: Transfer, size: number): Promise<string> {
  const up = direction === 'up';
  const worker = slow === 'worker' ? `&rate=${rate}` : '';
  const args = ['-sSk', protocol === 'HTTP/2' ? '--http2' : '--http1.1', `${daemon.origin}/?size=${size}${worker}`];
  if (slow === 'client') args.push('--limit-rate', String(rate));
  if (up) args.push('-X', 'POST', '-H', 'Expect:', '-T', bodyFile(daemon, size));
  const curl = spawn('curl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  let text = '';
  const hash = createHash('sha256');
  curl.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  curl.stdout.on('data', (chunk: Buffer) => {
    if (up) text += chunk.toString();
    else hash.update(chunk);
  });
  const code = await new Promise<number | null>((resolve) => curl.once('close', resolve));
  if (code !== 0) throw new Error(`curl ended with ${code}: ${stderr}`);
  return up ? text : hash.digest('hex');
}

function bodyFile(daemon: Daemon, size: number): string {
  return path.join(daemon.folder, `body-${size}`);
}

export async function prove(): Promise<void> {
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: [node, hashing_worker.mjs, "{socket}"], directory: FIXTURES, workers: 1 }
`,
  });
  const [pid] = (await daemon.status()).proxies.flatMap((proxy) => proxy.pid ?? []);
  assert.ok(pid !== undefined);
  for (const size of [WARM_UP, SIZE, LARGE]) writeBody(bodyFile(daemon, size), size);

  const rows = [['', 'SIZE', 'SLOW', 'SECONDS', 'GROWTH', 'MAY BE', 'AT THE END', 'SHA-256']];
  const problems: string[] = [];
  const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;
  const through = async (one: Transfer, size: number, allowed: number): Promise<void> => {
    await transfer(daemon, one, WARM_UP);
    using memory = watchMemory([pid]);
    const started = performance.now();
    const hash = await transfer(daemon, one, size);
    const seconds = (performance.now() - started) / 1000;
    memory.stop();
    const same = hash === hashOf(size);
    const title = `${one.protocol} ${one.direction}`;
    const grown = memory.grownBytes();
    const figures = [seconds.toFixed(1), mib(grown), mib(allowed), mib(residentBytes(pid))];
    rows.push([title, `${size / 1e6} MB`, one.slow, ...figures, same ? 'the same' : 'ANOTHER']);
    if (!same) problems.push(`${title}: ${size} bytes arrived otherwise`);
    if (grown >= allowed) problems.push(`${title} of ${size} bytes, slow ${one.slow}: grew by ${mib(grown)}`);
  };
  for (const protocol of ['HTTP/1.1', 'HTTP/2'] as const) {
    for (const direction of ['down', 'up'] as const) {
      for (const slow of ['client', 'worker'] as const) {
        await through({ direction, protocol, slow, rate: SLOW }, SIZE, ALLOWED_GROWTH);
      }
    }
  }
  for (const protocol of ['HTTP/1.1', 'HTTP/2'] as const) {
    for (const direction of ['down', 'up'] as const) {
      await through({ direction, protocol, slow: 'client', rate: SLOW_LARGE }, LARGE, ALLOWED_GROWTH_LARGE);
    }
  }
  print(formatTable(rows));
  assert.deepEqual(problems, []);
}
