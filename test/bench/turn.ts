/** What a contender and the load on it used while something was done. */
import assert from 'node:assert/strict';
import type { Contender } from './contenders/contender.ts';
import { cpuSeconds, cpuSecondsOfEnded } from './usage.ts';
import { sleep } from '../../src/lifecycle.ts';

/** Work that follows the last answer: lines to be logged, connections to be closed. */
const TAIL_MS = 50;

export interface Used<T> {
  readonly result: T;
  /** Of all the contender's processes. */
  readonly cpuSeconds: number;
}

export async function cpuOf<T>(contender: Contender, work: () => Promise<T>): Promise<Used<T>> {
  const pids = await contender.pids();
  const before = cpuSeconds(pids);
  const result = await work();
  await sleep(TAIL_MS);
  const used = cpuSeconds(pids) - before;
  // Time that a process took with it when it ended would be missing.
  assert.deepEqual(await contender.pids(), pids, `${contender.name}: other processes than at the start`);
  return { result, cpuSeconds: used };
}

/** The same where the load is programs that are run to their end. */
export async function cpuOfPrograms<T>(
  contender: Contender,
  work: () => Promise<T>,
): Promise<Used<T> & { readonly generatorSeconds: number }> {
  const before = cpuSecondsOfEnded();
  const used = await cpuOf(contender, work);
  return { ...used, generatorSeconds: cpuSecondsOfEnded() - before };
}
