/** Looks at what a service's workers do, and has as many of them as that needs. */
import { newHistory, periodMs, scaleDecision } from './scale_decision.ts';
import type { PeriodLoad, ScaleHistory, ScaleInputs, ScaleLimits } from './scale_decision.ts';
import { roomFor } from './memory_budget.ts';
import type { Room } from './memory_budget.ts';
import type { WorkerStatus } from './slots.ts';
import { persist } from '../defects.ts';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';
import { createCpuMeter, readMemory } from '../machine.ts';
import type { ServiceStats, TargetStats } from '../snapshot.ts';

const LOOK_MS = 500;
/** What imports and first requests cost is not yet the load. */
const NEW_MS = 30_000;

export interface Scaled {
  /** null: their number is not for us to decide. */
  limits(): ScaleLimits | null;
  /** Requests each worker may have at once; 0: any number. */
  concurrency(): number;
  workers(): readonly WorkerStatus[];
  stats(): ServiceStats;
  targetStats(id: string): TargetStats;
  scale(count: number): void;
}

/** The last that was decided, and of what. */
export interface ScaleEvent {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
  readonly cpu: number | null;
  readonly busy: number | null;
  readonly hostCpu: number | null;
  readonly queued: number;
  readonly queuedMs: number;
  readonly ready: number;
  /** How many more memory has room for, and the sum. */
  readonly room: Room;
}

export interface Autoscaler {
  /** null: nothing was decided since it may. */
  last(): ScaleEvent | null;
}

/** Only growth needs room, and only load or a queue makes it grow. */
const UNASKED: Room = { more: Infinity, sum: 'not looked at' };

/** What is measured from one period's end to the next. */
interface Period {
  readonly startedAt: number;
  /** CPU time of each worker at its beginning. */
  readonly cpuSeconds: ReadonlyMap<string, number>;
  /** Shares seen, one each look. */
  readonly busy: number[];
}

export function createAutoscaler(service: Scaled, log: Logger, signal: AbortSignal): Autoscaler {
  const hostCpu = createCpuMeter();
  let history: ScaleHistory | null = null;
  let period: Period | null = null;
  let last: ScaleEvent | null = null;
  /** What was asked for and is not so yet: a roll goes before. */
  let asked: number | null = null;

  const begin = (now: number, workers: readonly WorkerStatus[]): Period => ({
    startedAt: now,
    cpuSeconds: new Map(workers.flatMap(({ id, usage }) => (usage === null ? [] : [[id, usage.cpuSeconds] as const]))),
    busy: [],
  });

  const look = (now: number): void => {
    const limits = service.limits();
    const workers = service.workers();
    if (limits === null || workers.length === 0) {
      // Whoever takes over from an operator begins anew, and steps before the start come before all workers.
      [history, period, last, asked] = [null, null, null, null];
      return;
    }
    if (asked !== null && asked !== workers.length) return;
    asked = null;
    history ??= newHistory(now);
    period ??= begin(now, workers);
    const concurrency = service.concurrency();
    if (concurrency > 0) {
      const inFlight = workers.reduce((sum, { id }) => sum + service.targetStats(id).inFlight, 0);
      period.busy.push(inFlight / (concurrency * workers.length));
    }
    const isOver = now - period.startedAt >= periodMs(limits);
    const load = isOver ? loadOf(period, workers, hostCpu(), now) : null;
    if (isOver) period = begin(now, workers);
    const { queued, queuedMs } = service.stats();
    const inputs: ScaleInputs = {
      wanted: workers.length,
      ready: workers.filter(({ state }) => state === 'ready').length,
      queued,
      queuedMs,
      room: load === null && queued === 0 ? UNASKED : roomIn(workers),
      period: load,
    };
    const decision = scaleDecision(inputs, history, limits, now);
    ({ history } = decision);
    if (decision.wanted === workers.length && load === null) return;
    const { ready, room } = inputs;
    const { cpu = null, busy = null, hostCpu: host = null } = load ?? last ?? {};
    const { reason, wanted: to } = decision;
    last = { at: now, from: workers.length, to, reason, cpu, busy, hostCpu: host, queued, queuedMs, ready, room };
    if (to === workers.length) return;
    log.info('service_scaled', {
      from: workers.length,
      to,
      reason,
      cpu,
      busy,
      host_cpu: host,
      queued,
      queued_ms: queuedMs,
      ready,
      memory: room.sum,
    });
    asked = to;
    service.scale(to);
  };

  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      look(Date.now());
      await sleep(LOOK_MS, signal);
    }
  };
  void persist(loop, log, signal);
  return { last: () => last };
}

function roomIn(workers: readonly WorkerStatus[]): Room {
  const running = workers.filter(({ pid }) => pid !== null);
  return roomFor(
    running.map(({ state, usage }) => ({ ready: state === 'ready', memory: usage?.memory ?? null })),
    readMemory(),
  );
}

function loadOf(
  { startedAt, cpuSeconds, busy }: Period,
  workers: readonly WorkerStatus[],
  hostCpu: number | null,
  now: number,
): PeriodLoad {
  const isNew = ({ readyAt }: WorkerStatus): boolean => readyAt === 0 || now - readyAt < NEW_MS;
  const old = workers.filter((worker) => !isNew(worker));
  const known = old.filter(({ usage }) => usage !== null);
  const spent = known.reduce((sum, { id, usage }) => {
    const before = cpuSeconds.get(id);
    return before === undefined ? sum : sum + Math.max(0, (usage?.cpuSeconds ?? 0) - before);
  }, 0);
  return {
    cpu: known.length < old.length ? null : spent / ((now - startedAt) / 1_000) / workers.length,
    busy: busy.length === 0 ? null : busy.reduce((sum, share) => sum + share, 0) / busy.length,
    hostCpu,
    settling: old.length < workers.length,
  };
}
