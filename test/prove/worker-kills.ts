/** Workers killed one after the other while all of them are at work. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import { faultsOf, sendAccounted } from '../support/load.ts';

export const SUMMARY =
  'kill -9 of one of four workers again and again fails no GET and repeats no POST (SECONDS=60 EVERY=2)';

const CONNECTIONS = 100;
/** Of all answers those that may be no 200: what a worker had of POSTs when it was killed. */
const ALLOWED = 0.005;
const HUNG_MS = 5_000;

export async function prove(): Promise<void> {
  const seconds = Number(process.env['SECONDS'] ?? 60);
  const everyMs = Number(process.env['EVERY'] ?? 2) * 1_000;
  await using daemon = await startDaemon({
    config: `logging: { access: false }
sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE.replace('workers: 2', 'workers: 4')}`,
  });
  const over = new AbortController();
  // Each takes a moment, so that a worker that is killed has some.
  const load = sendAccounted(daemon, {
    methods: ['GET', 'POST'],
    connections: CONNECTIONS,
    sessions: 4,
    signal: over.signal,
    path: '/slow?ms=30',
  });
  const kills = Math.floor(seconds / (everyMs / 1_000)) - 1;
  let fewest = 4;
  for (let kill = 0; kill < kills; kill++) {
    await sleep(everyMs);
    const workers = (await daemon.status()).services[0]?.workers ?? [];
    const ready = workers.filter(({ state }) => state === 'ready');
    fewest = Math.min(fewest, ready.length);
    const victim = ready[kill % ready.length];
    process.kill(victim?.pid ?? assert.fail(`no worker is ready: ${daemon.log().slice(-2_000)}`), 'SIGKILL');
  }
  await sleep(everyMs);
  over.abort();
  const account = await load;
  const faults = faultsOf(account);
  const count = (method: string, status: number | null): number =>
    account.answers.filter((answer) => answer.method === method && (status === null || answer.status === status))
      .length;
  const twice = account.answers.filter(({ id }) => (account.executions.get(id) ?? 0) > 1);
  print(
    formatTable([
      ['', 'GET', 'POST'],
      ['sent', String(count('GET', null)), String(count('POST', null))],
      ['answered 200', String(count('GET', 200)), String(count('POST', 200))],
      ['answered 502', String(count('GET', 502)), String(count('POST', 502))],
      ['without an answer', String(count('GET', 0)), String(count('POST', 0))],
      ['executed twice', ...['GET', 'POST'].map((of) => String(twice.filter(({ method }) => method === of).length))],
    ]),
  );
  const bad = account.answers.filter(({ status }) => status !== 200).length / account.answers.length;
  const slowest = Math.max(...account.answers.map(({ tookMs }) => tookMs));
  print(
    formatTable([
      ['workers killed', `${kills} in ${seconds} s, at least ${fewest} of 4 ready when the next was`],
      ['not answered with 200', `${(bad * 100).toFixed(2)} %`],
      ['the slowest answer', `${Math.round(slowest)} ms`],
      ['faults', String(faults.length)],
    ]),
  );
  assert.deepEqual(faults.slice(0, 10), []);
  assert.ok(bad <= ALLOWED && slowest < HUNG_MS);
  assert.ok(kills > 0 && account.answers.length > seconds * 100);
}
