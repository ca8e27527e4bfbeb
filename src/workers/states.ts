/** What a worker can be, and what may follow: data, so that nothing else decides it. */

export type WorkerState = 'starting' | 'ready' | 'unhealthy' | 'draining' | 'stopping' | 'killing' | 'stopped';

/**
 * `ready` and only it gets requests; `unhealthy` and `draining` keep those they have. `stopping` has been sent TERM,
 * `killing` a signal that ends it.
 */
export const NEXT: Readonly<Record<WorkerState, readonly WorkerState[]>> = {
  starting: ['ready', 'stopping', 'killing', 'stopped'],
  ready: ['unhealthy', 'draining', 'killing', 'stopped'],
  unhealthy: ['ready', 'draining', 'killing', 'stopped'],
  draining: ['stopping', 'killing', 'stopped'],
  stopping: ['killing', 'stopped'],
  killing: ['stopped'],
  stopped: [],
};

/** Why one has ended that nobody told to, or how it did when it was told. */
export type Cause =
  /** Before it was ready. */
  | 'boot'
  /** It cannot be run at all: not found, or its directory is not there. */
  | 'command'
  /** Somebody else had its port: with another it may work. */
  | 'port_taken'
  /** The kernel, for want of memory. */
  | 'oom'
  /** KILL, of somebody. */
  | 'killed'
  /** Another signal of somebody. */
  | 'signal'
  | 'crash'
  /** It said that all was well. */
  | 'clean';

/** Why a process left, or another takes its place. */
export type Reason =
  | Cause
  | 'liveness'
  | 'memory'
  | 'max_requests'
  | 'max_age'
  | 'rolling'
  | 'scale'
  | 'operator'
  | 'stop';

/** Ends that are its own doing. */
export const FAULTS: ReadonlySet<Reason> = new Set<Reason>(['boot', 'command', 'port_taken', 'crash', 'clean']);

/** A place for a worker that has none: before its first, between two, after too many, and for good. */
export type VacantState = 'waiting' | 'backoff' | 'fatal' | 'stopped';

/** Of a service as a whole; `prestart`: the steps before a release's first worker are run, whatever serves meanwhile. */
export type ServiceState = 'prestart' | 'starting' | 'up' | 'degraded' | 'rolling' | 'down' | 'failed' | 'stopped';

/** `wanted` workers, of which these are the states. */
export function serviceState(
  states: readonly (WorkerState | VacantState)[],
  wanted: number,
  { rolling, stopped }: { readonly rolling: boolean; readonly stopped: boolean },
): ServiceState {
  if (stopped) return 'stopped';
  const ready = states.filter((state) => state === 'ready').length;
  if (rolling && ready > 0) return 'rolling';
  if (ready >= wanted) return 'up';
  if (ready > 0) return 'degraded';
  if (states.length > 0 && states.every((state) => state === 'fatal' || state === 'waiting')) {
    return states.includes('fatal') ? 'failed' : 'starting';
  }
  return states.includes('starting') ? 'starting' : 'down';
}
