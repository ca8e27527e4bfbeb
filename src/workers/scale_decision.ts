/**
 * How many workers a service should have, by what they do. Pure: the band of 50 to 90 % and the target between them are
 * what is advised for servers of this kind; to be short of workers is mended at once, to have too many slowly.
 */
import type { Room } from './memory_budget.ts';

const TARGET = 0.7;
const HIGH = 0.9;
const LOW = 0.5;
/** No metric counts before so much of its history is there. */
export const PERIOD_MS = 15_000;
/** Requests that wait so long, or always some so long, are a sign that does not wait for a period's end. */
const QUEUE_MS = 1_000;
/** Longer, as what proxies tell is up to a second old. */
const ALWAYS_QUEUED_MS = 3_000;
/** In a period: so many, or as many as there are. */
const STEP = 4;

export interface ScaleLimits {
  readonly min: number;
  readonly max: number;
  readonly downAfterMs: number;
}

/** Shares of what all wanted workers could do; those that are not ready yet, or only just, count as idle. */
export interface PeriodLoad {
  /** Of one core each; null: not known. */
  readonly cpu: number | null;
  /** Of the requests they may have at once; null: there is no limit. */
  readonly busy: number | null;
  /** Of all CPUs we may use; null: not known. */
  readonly hostCpu: number | null;
  /** Some worker is new, and its CPU not counted. */
  readonly settling: boolean;
}

export interface ScaleInputs {
  readonly wanted: number;
  readonly ready: number;
  /** Requests that wait for a worker, and how long the oldest has. */
  readonly queued: number;
  readonly queuedMs: number;
  /** What memory has room for. */
  readonly room: Room;
  /** Of the period that ends now; null: none does. */
  readonly period: PeriodLoad | null;
}

export interface ScaleHistory {
  /** When it begins. */
  readonly since: number;
  /** How many workers each period's load would have kept fully busy. */
  readonly demands: readonly { readonly at: number; readonly demand: number }[];
  readonly grown: readonly { readonly at: number; readonly by: number }[];
  /** Since then some request has always waited; null: none does. */
  readonly queuedSince: number | null;
}

export interface ScaleDecision {
  readonly wanted: number;
  /** For people. */
  readonly reason: string;
  readonly history: ScaleHistory;
}

export function newHistory(now: number): ScaleHistory {
  return { since: now, demands: [], grown: [], queuedSince: null };
}

/** What differs for short windows: periods must be fewer than a window is long. */
export function periodMs({ downAfterMs }: ScaleLimits): number {
  return Math.min(PERIOD_MS, downAfterMs / 4);
}

export function scaleDecision(
  inputs: ScaleInputs,
  before: ScaleHistory,
  limits: ScaleLimits,
  now: number,
): ScaleDecision {
  const { wanted, ready, queued, queuedMs, room, period } = inputs;
  const history = remember(inputs, before, limits, now);
  const stay = (reason: string): ScaleDecision => ({ wanted, reason, history });

  if (wanted < limits.min) return { wanted: limits.min, reason: `min is ${limits.min}`, history };
  if (wanted > limits.max) return { wanted: limits.max, reason: `max is ${limits.max}`, history };
  if (ready === 0) return stay('no worker is ready: more would not be either');

  const grow = (by: number, reason: string): ScaleDecision => {
    const added = history.grown.reduce((sum, growth) => sum + growth.by, 0);
    const allowed = Math.max(STEP, wanted - added) - added;
    if (wanted === limits.max) return stay(`${reason}, but max is ${limits.max}`);
    if (room.more < 1) return stay(`${reason}, but memory has no room: ${room.sum}`);
    const step = Math.min(by, allowed, limits.max - wanted, room.more);
    if (step < 1) return stay(`${reason}; enough were added just now`);
    return {
      wanted: wanted + step,
      reason,
      history: { ...history, queuedSince: null, grown: [...history.grown, { at: now, by: step }] },
    };
  };

  const lastGrownAt = history.grown.at(-1)?.at ?? -Infinity;
  const alwaysQueuedMs = history.queuedSince === null ? 0 : now - history.queuedSince;
  if (queued > 0 && now - lastGrownAt >= QUEUE_MS) {
    if (queuedMs >= QUEUE_MS) return grow(1, `requests waited for ${seconds(queuedMs)}`);
    if (alwaysQueuedMs >= ALWAYS_QUEUED_MS) return grow(1, `requests waited always, for ${seconds(alwaysQueuedMs)}`);
  }
  if (period === null) return stay('a period goes on');

  const { cpu, busy, hostCpu } = period;
  // More workers on busy CPUs would only stand in each other's way.
  const hostIsFull = hostCpu !== null && hostCpu > HIGH;
  const growing = Math.max(busy ?? 0, hostIsFull ? 0 : (cpu ?? 0));
  if (growing > HIGH) {
    const name = growing === busy ? 'busy' : 'cpu';
    return grow(Math.ceil((wanted * growing) / TARGET) - wanted, `${name} ${percent(growing)}`);
  }
  if (hostIsFull && (cpu ?? 0) > HIGH) return stay(`cpu ${percent(cpu ?? 0)}, but so is the machine`);
  if (cpu === null && busy === null) return stay('nothing is known of its load');

  const load = Math.max(cpu ?? 0, busy ?? 0);
  if (load >= LOW) return stay(`load ${percent(load)} is within the band`);
  if (queued > 0) return stay(`load ${percent(load)}, but requests wait`);
  if (wanted === limits.min) return stay(`load ${percent(load)}, and min is ${limits.min}`);
  if (history.since > now - limits.downAfterMs) return stay(`load ${percent(load)}, not yet for long`);
  const peak = Math.max(...history.demands.map(({ demand }) => demand));
  if (peak / wanted >= LOW) return stay(`load ${percent(load)}, but ${percent(peak / wanted)} before`);
  if (peak / (wanted - 1) > TARGET) return stay(`load ${percent(load)}, but one fewer would be too few`);
  return { wanted: wanted - 1, reason: `load below ${percent(LOW)} for ${seconds(limits.downAfterMs)}`, history };
}

/** What is older than a window, or than a period, does not matter. */
function remember(
  { wanted, queued, period }: ScaleInputs,
  history: ScaleHistory,
  limits: ScaleLimits,
  now: number,
): ScaleHistory {
  const demand = period === null ? null : demandOf(period, wanted);
  return {
    since: history.since,
    demands: [
      ...history.demands.filter(({ at }) => at > now - limits.downAfterMs),
      ...(demand === null ? [] : [{ at: now, demand }]),
    ],
    grown: history.grown.filter(({ at }) => at > now - periodMs(limits)),
    queuedSince: queued === 0 ? null : (history.queuedSince ?? now),
  };
}

/** While a worker is new nobody knows what it will do: as if all had enough. */
function demandOf({ cpu, busy, settling }: PeriodLoad, wanted: number): number {
  return Math.max(cpu ?? 0, busy ?? 0, settling ? TARGET : 0) * wanted;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
