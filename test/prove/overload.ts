/** Three times as many requests as the workers can take: what is answered, how soon the rest is sent away, and how it ends. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { RECORDING_SERVICE, startDaemon } from '../support/daemon.ts';
import { quantile } from '../support/h2load.ts';
import { createAccountedHttp2Client, faultsOf, readExecutions } from '../support/load.ts';
import type { Answered } from '../support/load.ts';
import { paceLoad } from '../support/paced_load.ts';

export const SUMMARY =
  'three times the load workers can take: 80 % of the peak answered, the rest sent away at once, as before within 5 s (SECONDS=30)';

const WORK_MS = 100;
const [WORKERS, CONCURRENCY] = [4, 5];
const CAPACITY = WORKERS * CONCURRENCY * (1_000 / WORK_MS);
const AWAY_MS = 50;
const RECOVERY_MS = 5_000;
const PATH = `/slow?ms=${WORK_MS}`;

export async function prove(): Promise<void> {
  const seconds = Number(process.env['SECONDS'] ?? 30);
  await using daemon = await startDaemon({
    config: `proxy_processes: 1
logging: { access: false }
sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE.replace('workers: 2', `workers: ${WORKERS}`)}
    concurrency: ${CONCURRENCY}
    queue: { max: 20, timeout: 2s }
`,
  });
  // A client that opens a connection for each request that waits would measure handshakes.
  using client = createAccountedHttp2Client(daemon, 8);
  const at = async (perSecond: number, ms: number): Promise<readonly Answered[]> => {
    const load = paceLoad(client, perSecond, () => PATH);
    await sleep(ms);
    await load.stop();
    return load.answers;
  };
  const half = await at(CAPACITY / 2, 5_000);
  const peak = good(await at(CAPACITY * 1.2, 10_000)).length / 10;
  const over = await at(CAPACITY * 3, seconds * 1_000);
  const goodput = good(over).length / seconds;
  const endedAt = performance.now();
  const after = await at(CAPACITY / 2, RECOVERY_MS + 5_000);
  const lastBad = Math.max(endedAt, ...after.filter(({ status }) => status !== 200).map(({ startedAt }) => startedAt));
  const recovered = after.filter(({ startedAt }) => startedAt > endedAt + RECOVERY_MS);
  const away = over.filter(({ status }) => status === 503);
  const others = over.filter(({ status }) => status !== 200 && status !== 503);
  const p99 = (answers: readonly Answered[]): number =>
    quantile(
      answers.map(({ tookMs }) => tookMs),
      0.99,
    );
  print(
    formatTable([
      ['peak', `${peak.toFixed(0)} answers a second of ${CAPACITY} there can be`],
      [
        'at three times as many',
        `${goodput.toFixed(0)} a second, ${((goodput / peak) * 100).toFixed(0)} % of the peak`,
      ],
      ['sent away with 503', `${away.length}, p99 ${p99(away).toFixed(1)} ms`],
      ['neither', String(others.length)],
      ['p99 at half the load', `${p99(half).toFixed(0)} ms before, ${p99(recovered).toFixed(0)} ms after`],
      ['the last failure', `${Math.round(lastBad - endedAt)} ms after the end`],
    ]),
  );
  assert.deepEqual(others.slice(0, 5), []);
  assert.deepEqual(
    faultsOf({ answers: good(over), executions: readExecutions(daemon) }).filter(
      (fault) => !fault.includes('never sent'),
    ),
    [],
  );
  assert.ok(away.every(({ retryAfter }) => Number(retryAfter) > 0));
  assert.ok(goodput >= peak * 0.8 && p99(away) < AWAY_MS);
  assert.ok(recovered.length > 0 && good(recovered).length === recovered.length && lastBad - endedAt < RECOVERY_MS);
}

function good(answers: readonly Answered[]): readonly Answered[] {
  return answers.filter(({ status }) => status === 200);
}
