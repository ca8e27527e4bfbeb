/** Workers that close idle connections just when the next request is written on them. */
import assert from 'node:assert/strict';
import { formatTable, print } from '../../src/cli/terminal.ts';
import { startDaemon, RECORDING_SERVICE } from '../support/daemon.ts';
import { faultsOf, sendInBursts } from '../support/load.ts';

export const SUMMARY = 'idle connections that workers close lose no GET and repeat no POST (REQUESTS=100000)';

interface Part {
  readonly title: string;
  /** Of the worker's environment. */
  readonly env: string;
  /** More keys of the service. */
  readonly service: string;
  readonly share: number;
  readonly pauseMs: readonly [least: number, most: number];
  /** The proxy is kept from avoiding it, so it must happen for the proof to show anything. */
  readonly races: boolean;
}

const PARTS: readonly Part[] = [
  {
    title: 'closes after 100 ms, says nothing of it, timeouts.idle: 1h',
    env: 'KEEP_ALIVE_MS: "100", BEHAVIOUR: no-hint',
    service: 'timeouts: { idle: 1h }',
    share: 0.4,
    pauseMs: [80, 104],
    races: true,
  },
  {
    title: 'closes at random within 50 ms, timeouts.idle: 1h',
    env: 'BEHAVIOUR: no-hint close-idle',
    service: 'timeouts: { idle: 1h }',
    share: 0.4,
    pauseMs: [0, 40],
    races: true,
  },
  {
    title: 'closes after 100 ms and says so, defaults',
    env: 'KEEP_ALIVE_MS: "100"',
    service: 'timeouts: {}',
    share: 0.2,
    pauseMs: [80, 104],
    races: false,
  },
];

export async function prove(): Promise<void> {
  const total = Number(process.env['REQUESTS'] ?? 100_000);
  const rows: string[][] = [['WORKER', 'GET', 'FAILED', 'POST', '502', 'RACES', 'FAULTS']];
  const problems: string[] = [];
  for (const { title, env, service, share, pauseMs, races } of PARTS) {
    await using daemon = await startDaemon({
      config: `sites: [{ hosts: [localhost], service: web }]${RECORDING_SERVICE.replace('RECORD:', `${env}, RECORD:`)}    ${service}\n`,
    });
    const count = Math.round(total * share);
    const account = await sendInBursts(daemon, { count, methods: ['GET', 'GET', 'POST'], connections: 150, pauseMs });
    const faults = faultsOf(account);
    const of = (method: string) => account.answers.filter((answer) => answer.method === method);
    const failed = (method: string) => of(method).filter(({ status }) => status !== 200).length;
    const repeated = daemon.events('access').filter(({ attempts }) => Number(attempts) > 1).length;
    const raced = repeated + failed('POST');
    rows.push([title, of('GET'), failed('GET'), of('POST'), failed('POST'), raced, faults].map(show));
    problems.push(...faults);
    if (races && raced === 0) problems.push(`${title}: no race came about`);
    if (!races && raced > 0) problems.push(`${title}: ${raced} races`);
  }
  print(formatTable(rows));
  assert.deepEqual(problems.slice(0, 10), []);
}

function show(value: string | number | readonly unknown[]): string {
  return String(typeof value === 'object' ? value.length : value);
}
