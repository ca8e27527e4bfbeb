/** What all proxies together tell of a target, a service, an entrypoint, and of requests. */
import type { RequestCounts } from '../request_counts.ts';
import type { EntrypointStats, ProxyStats, ServiceStats, TargetStats } from '../snapshot.ts';

export interface Traffic {
  target(id: string, proxies: readonly ProxyStats[]): TargetStats;
  service(name: string, proxies: readonly ProxyStats[]): ServiceStats;
  entrypoint(name: string, proxies: readonly ProxyStats[]): EntrypointStats;
  /** A proxy died: what it counted so far counts on. */
  keep(stats: ProxyStats): void;
  /** Forgets targets nobody asks of any more. */
  forget(isKnown: (targetId: string) => boolean): void;
  /** A proxy, of which `teller` stands for one life, tells of its requests. */
  tellRequests(teller: object, rows: readonly RequestCounts[]): void;
  /** Sums over all proxies there were; of what is not known any more nothing is told, now or later. */
  requests(isKnown: (row: RequestCounts) => boolean): readonly RequestCounts[];
}

export function createTraffic(): Traffic {
  const targets = new Map<string, TargetStats>();
  const services = new Map<string, ServiceStats>();
  const entrypoints = new Map<string, EntrypointStats>();
  const requests = new Map<string, RequestCounts>();
  /** What each told last. */
  const lastRows = new WeakMap<object, Map<string, RequestCounts>>();
  return {
    target: (id, proxies) => sumTargets([targets.get(id), ...proxies.map((stats) => stats.targets[id])]),
    service: (name, proxies) => sumServices([services.get(name), ...proxies.map((stats) => stats.services[name])]),
    entrypoint: (name, proxies) =>
      sumEntrypoints([entrypoints.get(name), ...proxies.map((stats) => stats.entrypoints[name])]),
    keep: (stats) => {
      // What it had under way died with it.
      for (const [id, told] of Object.entries(stats.targets)) {
        const { requests, answers } = sumTargets([targets.get(id), told]);
        targets.set(id, { ...sumTargets([]), requests, answers });
      }
      for (const [name, told] of Object.entries(stats.services)) {
        services.set(name, { ...sumServices([services.get(name), told]), queued: 0, queuedMs: 0 });
      }
      for (const [name, told] of Object.entries(stats.entrypoints)) {
        entrypoints.set(name, { ...sumEntrypoints([entrypoints.get(name), told]), open: 0 });
      }
    },
    forget: (isKnown) => {
      for (const id of targets.keys()) if (!isKnown(id)) targets.delete(id);
    },
    tellRequests: (teller, rows) => {
      let last = lastRows.get(teller);
      if (last === undefined) lastRows.set(teller, (last = new Map<string, RequestCounts>()));
      for (const row of rows) {
        const key = `${row.site} ${row.service}`;
        const before = last.get(key);
        // A site that went and came again is counted anew.
        const begun = before !== undefined && row.counts.every((count, i) => count >= (before.counts[i] ?? 0));
        const news = begun ? row.counts.map((count, i) => count - (before.counts[i] ?? 0)) : row.counts;
        requests.set(key, { ...row, counts: sumRows([requests.get(key)?.counts ?? [], news]) });
        last.set(key, row);
      }
    },
    requests: (isKnown) => {
      for (const [key, row] of requests) if (!isKnown(row)) requests.delete(key);
      return [...requests.values()];
    },
  };
}

function summing<Stats>(all: readonly (Stats | undefined)[]): {
  readonly told: readonly Stats[];
  readonly sum: (of: (stats: Stats) => number) => number;
} {
  const told = all.filter((stats) => stats !== undefined);
  return { told, sum: (of) => told.reduce((total, stats) => total + of(stats), 0) };
}

function sumTargets(all: readonly (TargetStats | undefined)[]): TargetStats {
  const { told, sum } = summing(all);
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
  const { told, sum } = summing(all);
  return {
    queued: sum(({ queued }) => queued),
    queuedMs: Math.max(0, ...told.map(({ queuedMs }) => queuedMs)),
    shed: sum(({ shed }) => shed),
    retries: sum(({ retries }) => retries),
    ejections: sum(({ ejections }) => ejections),
    waits: sumRows(told.map(({ waits }) => waits)),
  };
}

function sumEntrypoints(all: readonly (EntrypointStats | undefined)[]): EntrypointStats {
  const { sum } = summing(all);
  return {
    open: sum(({ open }) => open),
    accepted: sum(({ accepted }) => accepted),
    refused: sum(({ refused }) => refused),
    handshakes: sum(({ handshakes }) => handshakes),
    failedHandshakes: sum(({ failedHandshakes }) => failedHandshakes),
  };
}

function sumRows(rows: readonly (readonly number[])[]): readonly number[] {
  const length = Math.max(0, ...rows.map((row) => row.length));
  return Array.from({ length }, (_, i) => rows.reduce((total, row) => total + (row[i] ?? 0), 0));
}
