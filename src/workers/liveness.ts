/** Whether a worker hangs, told by the traffic it was given; and whether killing it could help. Pure. */

export interface Observed {
  readonly id: string;
  /** Ready, but failing its checks. */
  readonly unhealthy: boolean;
  /** Being killed because it hangs. */
  readonly killing: boolean;
  /** How long its oldest request without a byte of an answer waits, in milliseconds; 0: there is none. */
  readonly oldestUnansweredMs: number;
}

export interface Judgement {
  /** Those to be killed now. */
  readonly hung: readonly string[];
  /** So many do not answer that the cause is load, or something all depend on: nobody is killed. */
  readonly panic: boolean;
}

/** Never more than a quarter of them at once, rounded down, but one. */
const KILL_SHARE = 0.25;
/** From this share on it is no fault of a worker. */
const PANIC_SHARE = 0.5;

/** A worker alone has nobody to be compared with: its own silence decides. */
export function judge(workers: readonly Observed[], livenessMs: number): Judgement {
  const silent = workers.filter(({ oldestUnansweredMs }) => oldestUnansweredMs >= livenessMs);
  const failing = workers.filter(
    ({ unhealthy, killing, oldestUnansweredMs }) => unhealthy || killing || oldestUnansweredMs >= livenessMs,
  );
  if (silent.length === 0) return { hung: [], panic: false };
  if (workers.length > 1 && failing.length >= workers.length * PANIC_SHARE) return { hung: [], panic: true };
  const allowed = Math.max(1, Math.floor(workers.length * KILL_SHARE));
  const room = allowed - workers.filter(({ killing }) => killing).length;
  const hung = silent.filter(({ killing }) => !killing).slice(0, Math.max(0, room));
  return { hung: hung.map(({ id }) => id), panic: false };
}
