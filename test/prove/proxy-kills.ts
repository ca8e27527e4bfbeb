/** Proxy processes killed under load: who notices, and for how long. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import tls from 'node:tls';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { isRunning } from '../support/processes.ts';
import { clientPortsOf } from '../support/sockets.ts';

export const SUMMARY =
  'kill -9 of a proxy again and again ends its own connections only, and refuses no new one (SECONDS=60 EVERY=4)';

const LASTING = 60;
const LANES = 6;
const REQUEST = 'GET /slow?ms=20 HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** A connection that asks again and again until it ends. */
interface Lasting {
  readonly port: number;
  answers: number;
  endedAt: number;
  close(): void;
}

interface Newcomer {
  readonly startedAt: number;
  readonly tookMs: number;
  /** null: answered. */
  readonly error: string | null;
}

export async function prove(): Promise<void> {
  const seconds = Number(process.env['SECONDS'] ?? 60);
  const everyMs = Number(process.env['EVERY'] ?? 4) * 1_000;
  await using daemon = await startDaemon({
    config: `proxy_processes: 2
logging: { access: false }
sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE}`,
  });
  const over = new AbortController();
  const newcomers: Newcomer[] = [];
  const lanes = Array.from({ length: LANES }, async () => {
    while (!over.signal.aborted) newcomers.push(await comeAndGo(daemon));
  });
  let lasting: Lasting[] = await Promise.all(Array.from({ length: LASTING }, () => stay(daemon)));
  const kills: { readonly at: number; readonly deadAt: number }[] = [];
  const fullMs: number[] = [];
  let [ended, wrongly, left] = [0, 0, 0];
  const deadline = performance.now() + seconds * 1_000;
  while (performance.now() + everyMs <= deadline) {
    await sleep(everyMs);
    const before = await proxyPids(daemon);
    const victim = before[kills.length % before.length] ?? assert.fail(`not all proxies are ready: ${daemon.log()}`);
    const own = clientPortsOf(victim, daemon.ports.https);
    const at = performance.now();
    process.kill(victim, 'SIGKILL');
    while (isRunning(victim)) await sleep(1);
    kills.push({ at, deadAt: performance.now() });
    await eventually(async () => (await proxyPids(daemon)).length === 2, { everyMs: 10 });
    fullMs.push(Math.round(performance.now() - at));
    await sleep(200);
    ended += lasting.filter(({ endedAt }) => endedAt > 0).length;
    wrongly += lasting.filter(({ endedAt, port }) => endedAt > 0 && !own.has(port)).length;
    left += lasting.filter(({ endedAt, port }) => endedAt === 0 && own.has(port)).length;
    const still = lasting.filter(({ endedAt }) => endedAt === 0);
    const fresh = await Promise.all(Array.from({ length: LASTING - still.length }, () => stay(daemon)));
    lasting = [...still, ...fresh];
  }
  over.abort();
  await Promise.all(lanes);
  const answersOf = new Map(lasting.map((each) => [each, each.answers]));
  await sleep(500);
  const silent = lasting.filter((each) => each.answers === answersOf.get(each)).length;
  for (const each of lasting) each.close();

  const failed = newcomers.filter(({ error }) => error !== null);
  const refused = failed.filter(({ error }) => error?.includes('ECONNREFUSED'));
  // One that was under way when its proxy died ends with it; nobody else may.
  const underWay = failed.filter(({ startedAt, tookMs }) =>
    kills.some(({ at, deadAt }) => startedAt <= deadAt && startedAt + tookMs >= at),
  );
  const slowest = Math.max(...newcomers.map(({ tookMs }) => tookMs));
  print(
    formatTable([
      ['proxies killed', `${kills.length} in ${seconds} s`],
      ['all there again after', `${fullMs.join(' ')} ms, half of them within ${median(fullMs)} ms`],
      ['lasting connections that ended', `${ended}: ${wrongly} not of the dead one, ${left} of it went on`],
      ['connections opened anew', `${newcomers.length}, the slowest answer after ${Math.round(slowest)} ms`],
      ['of these refused', String(refused.length)],
      ['ended with their proxy', String(underWay.length)],
      ['failed otherwise', String(failed.length - underWay.length)],
    ]),
  );
  assert.equal(refused.length, 0);
  assert.deepEqual(failed.filter((each) => !underWay.includes(each)).slice(0, 5), []);
  assert.deepEqual([wrongly, left, silent], [0, 0, 0]);
  assert.ok(kills.length > 0 && newcomers.length > seconds * 20 && ended > 0);
  assert.ok(median(fullMs) < 1_000);
}

async function proxyPids(daemon: Daemon): Promise<number[]> {
  const { proxies } = await daemon.status();
  return proxies.flatMap(({ pid, state }) => (state === 'ready' && pid !== null && isRunning(pid) ? [pid] : []));
}

function connect(daemon: Daemon): tls.TLSSocket {
  const { https: port } = daemon.ports;
  return tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
}

async function stay(daemon: Daemon): Promise<Lasting> {
  const socket = connect(daemon);
  await once(socket, 'secureConnect');
  const lasting: Lasting = { port: socket.localPort ?? 0, answers: 0, endedAt: 0, close: () => void socket.destroy() };
  socket.on('error', () => {}).on('close', () => (lasting.endedAt = performance.now()));
  socket.on('data', (chunk: Buffer) => {
    if (chunk.toString('latin1').startsWith('HTTP/1.1 200')) lasting.answers++;
    void sleep(100).then(() => socket.destroyed || socket.write(REQUEST));
  });
  socket.write(REQUEST);
  return lasting;
}

/** One request on a connection of its own. */
function comeAndGo(daemon: Daemon): Promise<Newcomer> {
  const startedAt = performance.now();
  const socket = connect(daemon);
  socket.setTimeout(5_000, () => socket.destroy(new Error('no answer within 5 s')));
  return new Promise((resolve) => {
    const settle = (error: string | null): void => {
      socket.destroy();
      resolve({ startedAt, tookMs: performance.now() - startedAt, error });
    };
    socket.on('error', (error: NodeJS.ErrnoException) => settle(`${error.code ?? ''} ${error.message}`));
    socket.on('close', () => settle('closed without an answer'));
    socket.on('data', (chunk: Buffer) => {
      const start = chunk.toString('latin1', 0, 12);
      settle(start === 'HTTP/1.1 200' ? null : start);
    });
    socket.on('secureConnect', () => socket.write(REQUEST));
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
