/** What all proxies together tell of a target or a service. */
import type { ProxyStats, ServiceStats, TargetStats } from '../snapshot.ts';

export interface Traffic {
  target(id: string, proxies: readonly ProxyStats[]): TargetStats;
  service(name: string, proxies: readonly ProxyStats[]): ServiceStats;
  /** A proxy died: what it counted so far counts on. */
  keep(stats: ProxyStats): void;
  /** Forgets targets nobody asks of any more. */
  forget(isKnown: (targetId: string) => boolean): void;
}

export function createTraffic(): Traffic {
  const targets = new Map<string, TargetStats>();
  const services = new Map<string, ServiceStats>();
  return {
    target: (id, proxies) => sumTargets([targets.get(id), ...proxies.map((stats) => stats.targets[id])]),
    service: (name, proxies) => sumServices([services.get(name), ...proxies.map((stats) => stats.services[name])]),
    keep: (stats) => {
      // What it had under way died with it.
      for (const [id, told] of Object.entries(stats.targets)) {
        const { requests, answers } = sumTargets([targets.get(id), told]);
        targets.set(id, { ...sumTargets([]), requests, answers });
      }
      for (const [name, told] of Object.entries(stats.services)) {
        services.set(name, { queued: 0, queuedMs: 0, shed: sumServices([services.get(name), told]).shed });
      }
    },
    forget: (isKnown) => {
      for (const id of targets.keys()) if (!isKnown(id)) targets.delete(id);
    },
  };
}

function sumTargets(all: readonly (TargetStats | undefined)[]): TargetStats {
  const told = all.filter((stats) => stats !== undefined);
  const sum = (of: (stats: TargetStats) => number): number => told.reduce((total, stats) => total + of(stats), 0);
  return {
    inFlight: sum(({ inFlight }) => inFlight),
    streams: sum(({ streams }) => streams),
    requests: sum(({ requests }) => requests),
    answers: sum(({ answers }) => answers),
    oldestUnansweredMs: Math.max(0, ...told.map(({ oldestUnansweredMs }) => oldestUnansweredMs)),
    silentMs: Math.min(...told.map(({ silentMs }) => silentMs)),
  };
}

function sumServices(all: readonly (ServiceStats | undefined)[]): ServiceStats {
  const told = all.filter((stats) => stats !== undefined);
  return {
    queued: told.reduce((total, { queued }) => total + queued, 0),
    queuedMs: Math.max(0, ...told.map(({ queuedMs }) => queuedMs)),
    shed: told.reduce((total, { shed }) => total + shed, 0),
  };
}
