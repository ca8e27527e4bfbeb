/** All workers replaced again and again under load: by us, by gunicorn's HUP, and by what uvicorn offers. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { sleep } from '../../src/lifecycle.ts';
import { CONTENDERS } from '../support/restart_contenders.ts';
import type { Restartable } from '../support/restart_contenders.ts';
import { sendAccounted } from '../support/load.ts';
import type { Account } from '../support/load.ts';

export const SUMMARY =
  'thirty rolling restarts under 200 connections of GET and POST: no answer but 200, each POST once (RESTARTS=30 EVERY=10 OF=proxy,gunicorn,uvicorn)';

const CONNECTIONS = 200;
/** What a request takes in the app: at every moment all workers have some. */
const PATH = '/?ms=300';

export async function prove(): Promise<void> {
  const restarts = Number(process.env['RESTARTS'] ?? 30);
  const everyMs = Number(process.env['EVERY'] ?? 10) * 1_000;
  const wanted = (process.env['OF'] ?? CONTENDERS.map(({ name }) => name).join()).split(',');
  const rows = [
    ['', 'RESTARTS', 'ONE TOOK s', 'REQUESTS', 'p50 ms', 'p99 ms', 'NOT 2xx', 'NO ANSWER', 'POSTS LOST', 'POSTS TWICE'],
  ];
  for (const { name, start } of CONTENDERS.filter((one) => wanted.includes(one.name))) {
    await using restartable = await start();
    const { account, tookMs } = await restartUnderLoad(restartable, restarts, everyMs);
    rows.push(rowOf(restartable.title, account, tookMs));
    print(formatTable([rows[0] ?? [], rows.at(-1) ?? []]));
    if (name !== 'proxy') continue;
    const faults = account.answers.filter(({ status }) => status < 200 || status > 299);
    assert.deepEqual(faults.slice(0, 10), []);
    const posts = account.answers.filter(({ method }) => method === 'POST');
    assert.deepEqual(posts.filter(({ id }) => account.executions.get(id) !== 1).slice(0, 10), []);
    assert.ok(tookMs.length === restarts && posts.length > restarts * 1_000);
  }
  print(formatTable(rows));
}

async function restartUnderLoad(
  target: Restartable,
  restarts: number,
  everyMs: number,
): Promise<{ readonly account: Account; readonly tookMs: readonly number[] }> {
  const over = new AbortController();
  const load = sendAccounted(target, {
    methods: ['GET', 'POST'],
    connections: CONNECTIONS,
    signal: over.signal,
    path: PATH,
  });
  const tookMs: number[] = [];
  await sleep(everyMs / 2);
  for (let i = 0; i < restarts; i++) {
    const begun = performance.now();
    await target.restart();
    tookMs.push(performance.now() - begun);
    await sleep(Math.max(0, everyMs - (performance.now() - begun)));
  }
  over.abort();
  return { account: await load, tookMs };
}

function rowOf(title: string, { answers, executions }: Account, tookMs: readonly number[]): string[] {
  const count = (of: (answer: Account['answers'][number]) => boolean): string => String(answers.filter(of).length);
  const executed = (id: string): number => executions.get(id) ?? 0;
  const quantile = (values: readonly number[], part: number): number =>
    values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)] ?? Number.NaN;
  const latencies = answers.filter(({ status }) => status === 200).map((answer) => answer.tookMs);
  return [
    title,
    String(tookMs.length),
    (quantile(tookMs, 0.5) / 1_000).toFixed(1),
    String(answers.length),
    quantile(latencies, 0.5).toFixed(0),
    quantile(latencies, 0.99).toFixed(0),
    count(({ status }) => status !== 0 && (status < 200 || status > 299)),
    count(({ status }) => status === 0),
    // Sent, but not done: whether its client was told so or not.
    count(({ id, method }) => method === 'POST' && executed(id) === 0),
    count(({ id, method }) => method === 'POST' && executed(id) > 1),
  ];
}
