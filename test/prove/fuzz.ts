/** Damaged requests in numbers, through a running proxy and beside llhttp. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { compareRequests, compareResponses } from '../fuzz/comparison.ts';
import { fuzzStreams } from '../fuzz/streams.ts';
import { temporaryFolder } from '../support/daemon.ts';
import { readByParsers } from '../support/parsers.ts';
import { formatTable, print } from '../../src/cli/terminal.ts';

export const SUMMARY =
  'damaged requests get nothing through, and llhttp reads alike what is accepted (SEED=1 STREAMS=50000)';

const ALLOWED_GROWTH = 100 * 1024 * 1024;

export async function prove(): Promise<void> {
  const seed = Number(process.env['SEED'] ?? 1);
  const streams = Number(process.env['STREAMS'] ?? 50_000);
  const requests = await compareRequests(seed, Math.ceil(streams / 20));
  const responses = await compareResponses(seed, Math.ceil(streams / 20));
  const started = performance.now();
  const { faults, examples, exits, grownBytes, forwarded, refused } = await fuzzStreams(seed, streams);
  const elapsedMs = performance.now() - started;
  const folder = temporaryFolder();
  const { count, problems } = await readByParsers(folder, forwarded);
  rmSync(folder, { recursive: true });
  print(
    formatTable([
      ['seed', String(seed)],
      ['requests compared with llhttp', `${requests.cases}, ${requests.both} accepted by both and read alike`],
      ['responses compared with llhttp', `${responses.cases}, ${responses.both} accepted by both and read alike`],
      ['streams through the proxy', `${streams} in ${Math.round(elapsedMs / 1000)} s`],
      ['requests forwarded', String(forwarded.length)],
      ['streams refused', String(refused)],
      ...Object.entries(faults).map(([fault, count]) => [fault, String(count)]),
      ['proxies that ended', String(exits)],
      ['growth of a proxy', `${Math.round(grownBytes / 1024 / 1024)} MiB`],
      [
        'different requests read by node:http, gunicorn and uvicorn',
        `${count}, ${problems.length} otherwise than meant`,
      ],
    ]),
  );
  assert.deepEqual(examples, []);
  assert.deepEqual(problems.slice(0, 10), []);
  assert.equal(exits, 0);
  assert.ok(grownBytes < ALLOWED_GROWTH);
}
