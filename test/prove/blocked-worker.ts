/** A worker whose event loop is blocked: how soon it is ended, and what clients of the others notice. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { eventually } from '../support/eventually.ts';
import { quantile } from '../support/h2load.ts';
import { createAccountedClient } from '../support/load.ts';
import type { AccountedClient, Answered } from '../support/load.ts';
import { paceLoad } from '../support/paced_load.ts';

export const SUMMARY =
  "one of four blocked workers is ended in time and costs the others' p99 at most as much again; of four that block none is ended (PAIRS=5)";

const LIVENESS_MS = 10_000;
const ALLOWED_LATE_MS = 1_000;
const PER_SECOND = 200;
/** It gives four requests to four workers; several do not know of each other's. */
const ONE_PROXY = 'proxy_processes: 1\n';
/** Before its end: what waits until then says nothing of the others. */
const MARGIN_MS = 500;

export async function prove(): Promise<void> {
  const pairs = Number(process.env['PAIRS'] ?? 5);
  await oneOfFour(pairs);
  await allFour();
}

const config = (more: string, top = ''): string => `${top}logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: /usr/bin/python3 -m uvicorn recording_app:app --no-access-log
    directory: FIXTURES
    workers: 4
    env: { RECORD: FOLDER/shared/executed, PYTHONDONTWRITEBYTECODE: 1 }
    timeouts: { liveness: ${LIVENESS_MS}ms }
    ${more}
`;

async function oneOfFour(pairs: number): Promise<void> {
  await using daemon = await startDaemon({ config: config('') });
  using client = createAccountedClient(daemon, Infinity);
  using guilty = createAccountedClient(daemon, 1);
  const rows = [
    ['PAIR', 'QUIET p99 ms', 'BLOCKED p99 ms', 'RATIO', 'STUCK WITH IT', 'SIGABRT AFTER ms', 'FULL AGAIN AFTER ms'],
  ];
  const ratios: number[] = [];
  const late: number[] = [];
  await during(client, 3_000);
  for (let pair = 0; pair < pairs; pair++) {
    const quiet = await during(client, LIVENESS_MS - MARGIN_MS);
    const killsBefore = daemon.events('worker_killed').length;
    const blockedAt = Date.now();
    const stuck = guilty.send('GET', '/?block=120');
    // Until it hangs for sure, none of the others' requests is slow because of it.
    const blocked = await during(client, LIVENESS_MS - MARGIN_MS);
    const killed = await eventually(() => daemon.events('worker_killed')[killsBefore], { withinMs: 5_000 });
    const abortMs = Date.parse(String(killed['time'])) - blockedAt;
    assert.equal(killed['reason'], 'liveness');
    assert.equal((await stuck).status, 502);
    await eventually(() => allReady(daemon));
    const fullMs = Date.now() - blockedAt;
    const frames = daemon.events('worker_output').filter(({ worker }) => worker === killed['worker']);
    assert.ok(frames.some(({ line }) => /recording_app\.py", line \d+ in block_the_loop/.test(String(line))));
    const [a, b] = [p99(quiet.answers), p99(blocked.answers)];
    ratios.push(b / a);
    late.push(abortMs - LIVENESS_MS);
    rows.push([
      String(pair + 1),
      ...[a, b, b / a].map((value) => value.toFixed(2)),
      `${blocked.unanswered} of ${blocked.sent}`,
      String(abortMs),
      String(fullMs),
    ]);
  }
  print(formatTable(rows));
  print(`median of the ratios: ${median(ratios).toFixed(2)}`);
  assert.ok(Math.max(...late) <= ALLOWED_LATE_MS);
  assert.ok(median(ratios) <= 2);
}

/** Load for so long, and what was answered meanwhile; what was not is waited for. */
async function during(client: AccountedClient, ms: number) {
  const load = paceLoad(client, PER_SECOND);
  await sleep(ms);
  const answers = [...load.answers];
  const { sent } = load;
  const unanswered = sent - answers.length;
  void load.stop();
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200),
    [],
  );
  return { answers, sent, unanswered };
}

async function allFour(): Promise<void> {
  await using daemon = await startDaemon({
    config: config('concurrency: 5\n    queue: { max: 20, timeout: 2s }', ONE_PROXY),
  });
  using client = createAccountedClient(daemon, Infinity);
  const before = await pids(daemon);
  const until = Date.now() / 1_000 + (LIVENESS_MS / 1_000) * 2;
  const guilty = Array.from({ length: 4 }, () => client.send('GET', `/?until=${until}`));
  await sleep(500);
  const load = paceLoad(client, PER_SECOND);
  await sleep(LIVENESS_MS * 1.7);
  const shed = load.answers.filter(({ status }) => status === 503);
  const panic = daemon.events('workers_do_not_answer').length;
  await Promise.all(guilty);
  await sleep(5_000);
  const from = performance.now();
  await sleep(3_000);
  const afterwards = load.answers.filter(({ startedAt }) => startedAt > from);
  await load.stop();
  print(
    formatTable([
      ['all four blocked for', `${LIVENESS_MS * 2} ms`],
      [
        '503 meanwhile',
        `${shed.length}, half of them within ${median(shed.map(({ tookMs }) => tookMs)).toFixed(1)} ms`,
      ],
      ['without Retry-After', String(shed.filter(({ retryAfter }) => !(Number(retryAfter) > 0)).length)],
      ['workers ended', String(daemon.events('worker_killed').length)],
      [
        'afterwards',
        `${afterwards.length} answers, ${afterwards.filter(({ status }) => status !== 200).length} not 200`,
      ],
    ]),
  );
  assert.ok(shed.length > 0 && shed.every(({ retryAfter }) => Number(retryAfter) > 0));
  assert.equal(panic, 1);
  assert.deepEqual(daemon.events('worker_killed'), []);
  assert.deepEqual(await pids(daemon), before);
  assert.ok(afterwards.length > 0 && afterwards.every(({ status }) => status === 200));
}

const pids = async (daemon: Daemon): Promise<readonly (number | null)[]> =>
  (await daemon.status()).services[0]?.workers.map(({ pid }) => pid) ?? [];

const allReady = async (daemon: Daemon): Promise<boolean> =>
  (await daemon.status()).services[0]?.workers.every(({ state }) => state === 'ready') ?? false;

const p99 = (answers: readonly Answered[]): number =>
  quantile(
    answers.map(({ tookMs }) => tookMs),
    0.99,
  );

const median = (values: readonly number[]): number => quantile(values, 0.5);
