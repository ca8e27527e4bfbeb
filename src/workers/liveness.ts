/** Whether a worker hangs, told by the traffic it was given and by its checks; and whether killing it could help. Pure. */

export interface Observed {
  readonly id: string;
  /** For how long it fails its checks, in milliseconds; 0: it does not. */
  readonly unhealthyForMs: number;
  /** Being killed because it hangs. */
  readonly killing: boolean;
  /** How long its oldest request without a byte of an answer waits, in milliseconds; 0: there is none. */
  readonly oldestUnansweredMs: number;
  /** How long ago it said anything, to whomever, in milliseconds. */
  readonly silentMs: number;
}

export interface Judgement {
  /** Those that may hang, and should be asked. */
  readonly suspected: readonly string[];
  /** Those to be killed now. */
  readonly hung: readonly string[];
  /** So many do not answer that the cause is load, or something all depend on: nobody is killed. */
  readonly panic: boolean;
}

/** Never more than a quarter of them at once, rounded down, but one. */
const KILL_SHARE = 0.25;
/** From this share on it is no fault of a worker. */
const PANIC_SHARE = 0.5;
/** Silent for this part of the time it may be, a worker is none of those that answer: what all do, they began one by one. */
const SUSPECT_SHARE = 0.5;

/** `calmForMs`: how long ago the last panic was; after one, the last to recover gets all of its time again. */
export function judge(workers: readonly Observed[], livenessMs: number, calmForMs: number): Judgement {
  const suspects = workers.filter((worker) => hangsForMs(worker) >= livenessMs * SUSPECT_SHARE);
  const suspected = suspects.map(({ id }) => id);
  const hung = suspects.filter((worker) => hangsForMs(worker) >= livenessMs);
  if (hung.length === 0) return { suspected, hung: [], panic: false };
  const failing = workers.filter((worker) => worker.killing || worker.unhealthyForMs > 0 || suspects.includes(worker));
  if (isPanic(failing.length, workers.length)) return { suspected, hung: [], panic: true };
  if (calmForMs < livenessMs) return { suspected, hung: [], panic: false };
  const allowed = Math.max(1, Math.floor(workers.length * KILL_SHARE));
  const room = allowed - workers.filter(({ killing }) => killing).length;
  const victims = hung.filter(({ killing }) => !killing).slice(0, Math.max(0, room));
  return { suspected, hung: victims.map(({ id }) => id), panic: false };
}

/**
 * A slow answer is no hang while the worker says something to others, and neither is a check that fails with an answer.
 * Clients that gave up leave no request that waits, so the checks count as well.
 */
function hangsForMs({ unhealthyForMs, oldestUnansweredMs, silentMs }: Observed): number {
  return Math.min(silentMs, Math.max(unhealthyForMs, oldestUnansweredMs));
}

/**
 * A worker alone has nobody to be compared with: its own silence decides. Of two, one that answers shows that the other
 * could: two is what a small machine has by default, and one of them must not hang for ever.
 */
function isPanic(failing: number, all: number): boolean {
  return all <= 2 ? all > 1 && failing === all : failing >= all * PANIC_SHARE;
}
