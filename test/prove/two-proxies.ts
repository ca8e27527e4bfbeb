/** How evenly new connections spread over two proxy processes. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { FIXTURES, startDaemon } from '../support/daemon.ts';
import { wrk } from '../support/load.ts';

export const SUMMARY =
  'two proxies share 400 connections and their requests 35–65 % at worst (ROUNDS=10 CONNECTIONS=400)';

/** Counters are told once a second. */
const TOLD_MS = 1_500;

export async function prove(): Promise<void> {
  const rounds = Number(process.env['ROUNDS'] ?? 10);
  const connections = Number(process.env['CONNECTIONS'] ?? 400);
  await using daemon = await startDaemon({
    config: `proxy_processes: 2
logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: [node, bench_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 2 }
`,
  });
  const requests = async (): Promise<number[]> => (await daemon.status()).proxies.map((proxy) => proxy.requests);
  const shares: { readonly connections: number; readonly requests: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const before = await requests();
    const load = wrk(daemon, 4, connections);
    await sleep(3_500);
    const held = (await daemon.status()).proxies.map((proxy) => proxy.connections);
    const result = await load;
    assert.equal(result.bad + result.socketErrors, 0, result.text);
    await sleep(TOLD_MS);
    const done = (await requests()).map((count, slot) => count - (before[slot] ?? 0));
    const total = done.reduce((sum, count) => sum + count, 0);
    assert.ok(total >= result.requests, 'the counters have not been told');
    shares.push({ connections: shareOf(held), requests: shareOf(done) });
  }
  const show = (values: readonly number[]): string =>
    `${values.map((value) => value.toFixed(0)).join(' ')} %, of all ${mean(values).toFixed(1)} %`;
  print(
    formatTable([
      ['connections of a round', String(connections)],
      ['of these, the first proxy had', show(shares.map((share) => share.connections))],
      ['and of the requests', show(shares.map((share) => share.requests))],
    ]),
  );
  for (const share of shares) {
    for (const percent of [share.connections, share.requests]) assert.ok(percent >= 35 && percent <= 65);
  }
}

function shareOf([first = 0, second = 0]: readonly number[]): number {
  return (first / (first + second)) * 100;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
