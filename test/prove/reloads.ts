/** The configuration and the certificate change again and again while everything goes on. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { WebSocket } from 'ws';
import { callDaemon } from '../../src/cli/admin_client.ts';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { FIXTURES, startDaemon, writeConfig } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { inLanes } from '../support/lanes.ts';
import { h2load } from '../support/h2load.ts';
import { createSelfSigned } from '../support/self_signed.ts';
import { steadyLoad } from '../support/steady_load.ts';

export const SUMMARY =
  '100 reloads a minute, 50 of them with another certificate and 10 refused, fail no request and close no WebSocket; 1,000 sites reload within a second (SECONDS=60)';

const WEBSOCKETS = 100;
/** Connections, and requests a second of all of them. */
const LOAD = [
  { protocol: 'http/1.1', connections: 80, streams: 1, rate: 1_000 },
  { protocol: 'h2', connections: 20, streams: 4, rate: 1_000 },
] as const;
const SITES = 1_000;
const RELOADS_A_MINUTE = 100;

export async function prove(): Promise<void> {
  await reloadsUnderLoad(Number(process.env['SECONDS'] ?? 60));
  await manySites();
}

/** What of the file differs from turn to turn: a site's policies, a limit of an entrypoint, sites that come and go. */
function variant(turn: number, folder: string): { readonly config: string; readonly entrypoint: string } {
  const more = turn % 3 === 0 ? `\n  - { hosts: [n${turn}.localhost], service: web }` : '';
  return {
    entrypoint: `max_streams: ${100 + (turn % 5)}`,
    config: `sites:
  - hosts: [localhost]
    tls: { certificate: ${folder}/served.pem, key: ${folder}/served.key }
    service: web
    headers: { response: { set: { X-Turn: "${turn}" } } }${more}
services:
  web: { command: [node, websocket_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 2 }
logging: { access: false }
`,
  };
}

async function reloadsUnderLoad(seconds: number): Promise<void> {
  await using daemon = await startWithCertificate();
  const { folder, ports } = daemon;
  const pids = await workerPids(daemon);
  const sockets: WebSocket[] = [];
  await inLanes(Array.from({ length: WEBSOCKETS }), 20, async () => void sockets.push(await openWebSocket(daemon)));
  let closed = 0;
  for (const socket of sockets) socket.on('close', () => closed++);

  const load = Promise.all([
    ...LOAD.map((order) => h2load(daemon, { ...order, seconds })),
    steadyLoad(daemon, 50, seconds),
  ]);
  const everyMs = 60_000 / RELOADS_A_MINUTE;
  const deadline = performance.now() + seconds * 1_000;
  const counts = { applied: 0, refused: 0, swaps: 0 };
  const tookMs: number[] = [];
  for (let turn = 0; performance.now() + everyMs < deadline; turn++) {
    const begun = performance.now();
    const { config, entrypoint } = variant(turn, folder);
    if (turn % 10 === 9) {
      writeConfig(folder, ports, config.replace('service: web', 'servise: web'), entrypoint);
      const { code, stderr } = await daemon.verb('reload');
      assert.equal(code, 2, stderr);
      assert.match(stderr, /proxy\.yaml:9:5 sites\[0\]\.servise: .*did you mean "service"/);
      counts.refused++;
    } else {
      if (turn % 2 === 0) {
        useCertificate(folder, counts.swaps % 2 === 0 ? 'b' : 'a');
        counts.swaps++;
      }
      writeConfig(folder, ports, config, entrypoint);
      const { code, stderr } = await daemon.verb('reload');
      assert.equal(code, 0, stderr);
      counts.applied++;
    }
    tookMs.push(performance.now() - begun);
    await sleep(everyMs - (performance.now() - begun));
  }
  const results = await load;
  const requests = results.reduce((sum, one) => sum + one.requests, 0);
  const failed = results.reduce((sum, one) => sum + ('bad' in one ? one.bad : one.failed), 0);
  const closedMeanwhile = closed;
  assert.equal(await served(daemon), counts.swaps % 2 === 0 ? 'a' : 'b');
  await inLanes(sockets, 50, async (socket) => {
    const answer = once(socket, 'message') as Promise<[Buffer]>;
    socket.send('still here');
    assert.equal(String((await answer)[0]), 'still here');
    socket.terminate();
  });
  print(
    formatTable([
      ['reloads', `${counts.applied} applied, ${counts.refused} refused, in ${seconds} s`],
      ['a `proxy reload` took', `${Math.round(median(tookMs))} ms, at most ${Math.round(Math.max(...tookMs))} ms`],
      ['certificates swapped', String(counts.swaps)],
      ['requests', `${requests}, failed ${failed}`],
      ['WebSockets', `${WEBSOCKETS}, closed ${closedMeanwhile}`],
    ]),
  );
  assert.equal(failed, 0);
  assert.equal(closedMeanwhile, 0);
  assert.deepEqual(await workerPids(daemon), pids);
  assert.ok(seconds < 60 || requests >= 100_000, 'too few requests to say so');
}

async function startWithCertificate(): Promise<Daemon> {
  const daemon = await startDaemon({
    config: `sites: [{ hosts: [localhost], service: web }]
services:
  web: { command: [node, websocket_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 2 }
logging: { access: false }
`,
  });
  for (const name of ['a', 'b']) await createSelfSigned(daemon.folder, 'localhost', name);
  useCertificate(daemon.folder, 'a');
  const { config, entrypoint } = variant(0, daemon.folder);
  writeConfig(daemon.folder, daemon.ports, config, entrypoint);
  assert.equal((await daemon.verb('reload')).code, 0);
  return daemon;
}

function useCertificate(folder: string, name: string): void {
  for (const kind of ['pem', 'key'])
    copyFileSync(path.join(folder, `${name}.${kind}`), path.join(folder, `served.${kind}`));
}

/** Which of the two certificates a new connection is shown. */
async function served({ folder, ports }: Daemon): Promise<string> {
  const socket = tls.connect({ port: ports.https, servername: 'localhost', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const shown = socket.getPeerX509Certificate()?.serialNumber;
  socket.destroy();
  const serialOf = (name: string): string =>
    new X509Certificate(readFileSync(path.join(folder, `${name}.pem`))).serialNumber;
  return shown === serialOf('a') ? 'a' : shown === serialOf('b') ? 'b' : 'another';
}

async function openWebSocket({ ports }: Daemon): Promise<WebSocket> {
  const socket = new WebSocket(`wss://localhost:${ports.https}/`, { rejectUnauthorized: false });
  await once(socket, 'message');
  return socket;
}

async function workerPids(daemon: Daemon): Promise<readonly (number | null)[]> {
  return (await daemon.status()).services.flatMap(({ workers }) => workers.map(({ pid }) => pid));
}

async function manySites(): Promise<void> {
  const config = (title: string, last: string): string => `sites:
${Array.from({ length: SITES }, (_, i) => `  - { hosts: [s${i}.localhost], service: web, headers: { response: { set: { X-Title: ${i === SITES - 1 ? last : title} } } } }`).join('\n')}
services:
  web: { command: [node, websocket_worker.mjs, "{socket}"], directory: ${FIXTURES}, workers: 1 }
logging: { access: false }
`;
  await using daemon = await startDaemon({ config: config('first', 'first') });
  const reload = async (): Promise<number> => {
    const begun = performance.now();
    // As the verb asks; its own start is left out.
    await callDaemon(path.join(daemon.folder, 'run/admin.sock'), 'POST', '/v1/reload');
    return performance.now() - begun;
  };
  const rows: string[][] = [['a reload of 1,000 sites', 'took']];
  for (const [what, title, last] of [
    ['nothing changed', 'first', 'first'],
    ['one changed', 'first', 'other'],
    ['all changed', 'second', 'third'],
  ] as const) {
    writeConfig(daemon.folder, daemon.ports, config(title, last));
    const tookMs = await reload();
    rows.push([what, `${Math.round(tookMs)} ms`]);
    assert.ok(tookMs < 1_000, `${what}: ${tookMs} ms`);
  }
  print(formatTable(rows));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
