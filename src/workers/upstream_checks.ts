/** Health of upstreams somebody else runs: every address of every name is asked, and those that answer are targets. */
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { afterProbe, UNHEALTHY, untilNextProbe } from './health.ts';
import type { Health } from './health.ts';
import { probe } from './probe.ts';
import type { ServiceConfig, UpstreamConfig } from '../config/config.ts';
import { persist } from '../defects.ts';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';
import type { TargetEntry } from '../snapshot.ts';

/** A name's addresses change when containers do. */
const RESOLVE_MS = 5_000;

export interface UpstreamChecks {
  targets(): readonly TargetEntry[];
  /** A proxy could not connect: look at once. */
  reportFailure(targetId: string): void;
  stop(): Promise<void>;
}

interface Checked {
  readonly target: Omit<TargetEntry, 'healthy'>;
  readonly gone: AbortController;
  health: Health;
  lookNow: AbortController;
}

export interface UpstreamChecksOptions {
  readonly service: ServiceConfig;
  readonly log: Logger;
  /** The targets changed. */
  readonly onChange: () => void;
}

export function createUpstreamChecks({ service, log, onChange }: UpstreamChecksOptions): UpstreamChecks {
  const stopping = new AbortController();
  const checked = new Map<string, Checked>();
  const { healthCheck } = service;

  const follow = async ({ url: upstream, host, port, protocol, weight }: UpstreamConfig): Promise<void> => {
    let known = new Set<string>();
    while (!stopping.signal.aborted) {
      const addresses = await resolve(host, upstream);
      // A name server that fails takes nothing away.
      if (addresses !== null) {
        const ids = new Set(addresses.map((address) => targetId(upstream, host, address)));
        for (const address of addresses) {
          const id = targetId(upstream, host, address);
          const serverName = service.serverName ?? host;
          add({ id, place: id, protocol, address: { host: address, port }, serverName, weight });
        }
        for (const id of known) if (!ids.has(id)) remove(id);
        known = ids;
      }
      await sleep(RESOLVE_MS, stopping.signal);
    }
  };

  const targetId = (upstream: string, host: string, address: string): string =>
    `${service.name}@${upstream}${host === address ? '' : `#${address}`}`;

  const resolve = async (host: string, upstream: string): Promise<readonly string[] | null> => {
    if (net.isIP(host) !== 0) return [host];
    try {
      return (await lookup(host, { all: true })).map(({ address }) => address);
    } catch (error) {
      log.debug('upstream_unresolved', { upstream, error });
      return null;
    }
  };

  const add = (target: Checked['target']): void => {
    const { id } = target;
    if (checked.has(id)) return;
    const entry: Checked = {
      target,
      gone: new AbortController(),
      health: UNHEALTHY,
      lookNow: new AbortController(),
    };
    checked.set(id, entry);
    onChange();
    void persist(() => watch(entry), log, AbortSignal.any([stopping.signal, entry.gone.signal]));
  };

  const remove = (id: string): void => {
    checked.get(id)?.gone.abort();
    if (checked.delete(id)) onChange();
  };

  const watch = async (entry: Checked): Promise<void> => {
    const over = AbortSignal.any([stopping.signal, entry.gone.signal]);
    const { path, timeoutMs, intervalMs } = healthCheck;
    while (!over.aborted) {
      const reported = entry.lookNow.signal.aborted;
      if (reported) entry.lookNow = new AbortController();
      const begunAt = performance.now();
      const result = await probe(entry.target, { path, timeoutMs, signal: over, trustedRoots: service.trustedRoots });
      if (over.aborted) return;
      const next = reported && !result.ok ? UNHEALTHY : afterProbe(entry.health, result.ok, healthCheck);
      const changed = next.healthy !== entry.health.healthy;
      entry.health = next;
      if (changed) {
        if (result.ok) log.info('upstream_healthy', { upstream: entry.target.id });
        else log.warn('upstream_unhealthy', { upstream: entry.target.id, reason: result.reason });
        onChange();
      }
      const pauseMs = untilNextProbe(next, intervalMs, performance.now() - begunAt);
      await sleep(pauseMs, AbortSignal.any([over, entry.lookNow.signal]));
    }
  };

  const running = service.upstreams.map((upstream) => persist(() => follow(upstream), log, stopping.signal));
  return {
    targets: () => [...checked.values()].map(({ target, health }) => ({ ...target, healthy: health.healthy })),
    reportFailure: (id) => checked.get(id)?.lookNow.abort(),
    stop: async () => {
      stopping.abort();
      await Promise.all(running);
    },
  };
}
