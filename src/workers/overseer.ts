/** Looks at running workers from outside: whether one hangs, has grown, or has done enough. */
import { judge } from './liveness.ts';
import type { LaunchedService } from './launch.ts';
import type { GroupUsage } from './process_usage.ts';
import { recycling, SOFT_SAMPLES } from './recycling.ts';
import type { Reason } from './states.ts';
import type { Worker } from './worker.ts';
import { persist } from '../defects.ts';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';
import type { TargetStats } from '../snapshot.ts';

const LOOK_MS = 200;
const SAMPLE_MS = 5_000;

export interface OverseerOptions {
  readonly workers: () => readonly Worker[];
  readonly service: () => LaunchedService;
  readonly stats: (targetId: string) => TargetStats | null;
  /** What a process group holds and takes; null: not known. */
  readonly usage: (group: number) => GroupUsage | null;
  readonly replace: (worker: Worker, reason: Reason) => Promise<void>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** What is remembered of one worker. */
interface Memory {
  readonly luck: number;
  readonly samples: number[];
  /** It is on its way out. */
  leaving: boolean;
  /** It may hang, and was asked whether it does. */
  suspected: boolean;
}

export function oversee(options: OverseerOptions): void {
  const known = new WeakMap<Worker, Memory>();
  let panic = false;
  let panicAt = -Infinity;
  let sampledAt = 0;

  const remembered = (worker: Worker): Memory => {
    let memory = known.get(worker);
    if (memory === undefined)
      known.set(worker, (memory = { luck: Math.random(), samples: [], leaving: false, suspected: false }));
    return memory;
  };

  const lookForHung = (workers: readonly Worker[], livenessMs: number): void => {
    const now = performance.now();
    const observed = workers.map(({ id, state, unhealthySince, heardAt }) => {
      const { oldestUnansweredMs = 0, silentMs = Infinity } = options.stats(id) ?? {};
      const unhealthyForMs = state === 'unhealthy' ? now - unhealthySince : 0;
      const sayNothingMs = Math.min(silentMs, now - heardAt);
      return { id, killing: state === 'killing', unhealthyForMs, oldestUnansweredMs, silentMs: sayNothingMs };
    });
    const judgement = judge(observed, livenessMs, now - panicAt);
    if (judgement.panic && !panic)
      options.log.error('workers_do_not_answer', { workers: observed.map(({ id }) => id) });
    ({ panic } = judgement);
    if (panic) panicAt = now;
    for (const worker of workers) {
      const memory = remembered(worker);
      const suspected = judgement.suspected.includes(worker.id);
      // Its next check may be further away than its end.
      if (suspected && !memory.suspected) worker.lookNow();
      memory.suspected = suspected;
    }
    for (const worker of workers.filter(({ id }) => judgement.hung.includes(id))) {
      void worker.kill('liveness', `no byte of an answer for ${livenessMs} ms`, true);
    }
  };

  const lookForWorn = (workers: readonly Worker[], now: number): void => {
    const { maxRequests, maxAgeMs, memory } = options.service();
    for (const worker of workers) {
      const { luck, samples, leaving } = remembered(worker);
      const bytes = options.usage(worker.pid)?.memory ?? null;
      if (bytes !== null) samples.push(bytes);
      if (samples.length > SOFT_SAMPLES) samples.shift();
      if (leaving) continue;
      const life = {
        ageMs: now - worker.readyAt,
        requests: options.stats(worker.id)?.requests ?? 0,
        memory: samples,
        luck,
      };
      const decision = recycling(life, { maxRequests, maxAgeMs, memory });
      if (decision === null) continue;
      remembered(worker).leaving = true;
      options.log.info('worker_recycled', { worker: worker.id, ...decision, ...life, memory: samples.at(-1) ?? null });
      if (decision.how === 'kill') void worker.kill(decision.reason, 'it grew beyond memory.hard', false);
      // One that could not be replaced is looked at again.
      else void options.replace(worker, decision.reason).finally(() => (remembered(worker).leaving = false));
    }
  };

  const loop = async (): Promise<void> => {
    for (;;) {
      await sleep(LOOK_MS, options.signal);
      if (options.signal.aborted) return;
      const workers = options.workers().filter(({ readyAt }) => readyAt > 0);
      lookForHung(workers, options.service().timeouts.livenessMs);
      const now = Date.now();
      if (now - sampledAt < SAMPLE_MS && now >= sampledAt) continue;
      sampledAt = now;
      lookForWorn(
        workers.filter(({ state }) => state === 'ready' || state === 'unhealthy'),
        now,
      );
    }
  };
  void persist(loop, options.log, options.signal);
}
