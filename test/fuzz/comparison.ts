/**
 * Our codec beside llhttp (node:http) on the same bytes: a corpus and seeded mutations of it. What llhttp refuses we
 * must refuse too, and what both accept both must read alike. We may refuse more.
 */
import assert from 'node:assert/strict';
import { mutate, REQUESTS, RESPONSES, seeded } from './mutation.ts';
import type { Reading } from './readings.ts';
import { readRequest, readResponse, startLlhttpServer, startRawOrigin } from './readings.ts';
import { inLanes } from '../support/lanes.ts';

export interface Comparison {
  cases: number;
  /** Accepted by both, and read alike. */
  both: number;
  /** Accepted by llhttp alone. */
  oursRefusesMore: number;
}

/** Node answers these itself or hands them to other listeners; they are refused here anyway. */
const OURS_ALONE = /^(?:CONNECT|TRACE) /;

const AT_ONCE = 32;

/** Throws at the first request that is read in two ways. */
export async function compareRequests(seed: number, mutationsEach: number): Promise<Comparison> {
  await using llhttp = await startLlhttpServer();
  const tally: Comparison = { cases: 0, both: 0, oursRefusesMore: 0 };
  await inLanes(inputs(REQUESTS, seed, mutationsEach), AT_ONCE, async (input) => {
    if (OURS_ALONE.test(input)) return;
    const ours = readRequest(input);
    const theirs = await llhttp.read(input);
    tally.cases++;
    if (ours.verdict === 'accepted') {
      assert.deepEqual({ ...ours, excess: false }, alike(theirs, ours), JSON.stringify(input));
      tally.both++;
    } else if (theirs.verdict === 'accepted') {
      tally.oursRefusesMore++;
    }
  });
  return tally;
}

/** Throws at the first response that is read in two ways. */
export async function compareResponses(seed: number, mutationsEach: number): Promise<Comparison> {
  await using origin = await startRawOrigin();
  const tally: Comparison = { cases: 0, both: 0, oursRefusesMore: 0 };
  await inLanes(inputs(RESPONSES, seed, mutationsEach), AT_ONCE, async (input) => {
    const ours = readResponse(input);
    tally.cases++;
    // What follows a whole response ends that connection here, without harm to the response; node:http drops both.
    if (ours.verdict !== 'accepted' || ours.excess) return;
    assert.deepEqual({ ...ours, excess: false }, await origin.readWithLlhttp(input), JSON.stringify(input));
    tally.both++;
  });
  return tally;
}

/** RFC 9112 section 9.3: `close` ends a connection whatever else is said; node:http lets `keep-alive` overrule it. */
function alike(theirs: Reading, ours: Reading): Reading {
  return ours.start.endsWith('keep=false')
    ? { ...theirs, start: theirs.start.replace(/keep=true$/, 'keep=false') }
    : theirs;
}

function* inputs(sources: readonly string[], seed: number, mutationsEach: number): Generator<string> {
  const random = seeded(seed);
  for (const source of sources) {
    yield source;
    for (let i = 0; i < mutationsEach; i++) yield mutate(source, random);
  }
}
