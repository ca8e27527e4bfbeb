/** A proxy's view of a service: which workers may be asked, which one is next, and who waits while there is none. */
import tls from 'node:tls';
import type { Dispatcher } from 'undici';
import type { Clock, Swept } from '../clock.ts';
import { createDispatcher, secureConnectOptions } from '../../dispatcher.ts';
import { HISTOGRAM_LENGTH, observe } from '../../request_counts.ts';
import type { ServiceEntry, ServiceStats, TargetEntry, TargetStats } from '../../snapshot.ts';
import type { AffinitySource } from './affinity.ts';
import { choose } from './balancer.ts';
import type { Candidate } from './balancer.ts';
import type { ChannelListener } from './channel.ts';
import type { Origin, UpstreamConnection } from './connection.ts';
import { OwnConnection } from './own_connection.ts';
import { UndiciChannel } from './undici_channel.ts';
import { UnansweredList } from './unanswered.ts';

/** A target that starts slowly begins with this part of its share. */
const SLOW_START_FLOOR = 0.1;

/** A tunnel, or an answer that is a stream of events. */
export interface Stream {
  /** Ends it so that its client knows that it may come again. */
  endStream(): void;
}

export class Target implements Origin, Candidate {
  entry: TargetEntry;
  readonly idle: UpstreamConnection[] = [];
  readonly since: number;
  weight: number;
  credit = 0;
  inFlight = 0;
  /** Given to it so far, and answers that began. */
  requests = 0;
  answers = 0;
  readonly unanswered = new UnansweredList();
  /** When a byte of an answer came last, by the clock. */
  heardAt: number;
  readonly streams = new Set<Stream>();
  /** Failures in a row. */
  failures = 0;
  ejectedUntil = 0;
  /** Left the upstreams part: finishes what it has, gets nothing new. */
  removed = false;
  #dispatcher: Dispatcher | null = null;
  #trustedRoots: string | null = null;
  /** Them made ready: that takes a while. */
  #trust: tls.SecureContext | null = null;

  /** `now` is the clock's. */
  constructor(entry: TargetEntry, now: number) {
    this.entry = entry;
    this.since = now;
    this.heardAt = now;
    this.weight = entry.weight;
  }

  update(entry: TargetEntry, { trustedRoots }: ServiceEntry): void {
    // Whoever was believed by another proof must give the one that is asked now.
    if (entry.serverName !== this.entry.serverName || trustedRoots !== this.#trustedRoots) this.closeIdle();
    this.entry = entry;
    this.#trustedRoots = trustedRoots;
  }

  get id(): string {
    return this.entry.id;
  }

  get address(): TargetEntry['address'] {
    return this.entry.address;
  }

  /** Many requests share its connections, so that none can change its protocol. */
  get isShared(): boolean {
    return this.entry.protocol === 'h2' || this.entry.protocol === 'h2c';
  }

  stats(now: number): TargetStats {
    const { inFlight, requests, answers } = this;
    const oldestUnansweredMs = this.unanswered.oldestMs(now);
    const silentMs = Math.max(0, Math.round(now - this.heardAt));
    return { inFlight, streams: this.streams.size, requests, answers, oldestUnansweredMs, silentMs };
  }

  succeeded(): void {
    if (this.failures !== 0) this.failures = 0;
  }

  /** The most recently used idle connection if its time is not over; else it and those older are closed. */
  takeIdle(now: number): UpstreamConnection | null {
    const connection = this.idle.pop();
    if (connection === undefined) return null;
    if (now < connection.usableUntil) return connection;
    // The stack is ordered by time: all below are older still.
    connection.destroy();
    this.closeIdle();
    return null;
  }

  /** A way to an upstream that wants TLS or HTTP/2. */
  foreignChannel(listener: ChannelListener, clock: Clock, service: ServiceEntry): UndiciChannel {
    const { protocol, serverName, address } = this.entry;
    if (protocol === 'http' || 'path' in address) throw new Error(`${this.id} is no foreign upstream`);
    const reused = this.#dispatcher !== null;
    this.#dispatcher ??= createDispatcher({ protocol, serverName, ...address, ...service });
    const http2 = protocol !== 'https';
    return new UndiciChannel(this.#dispatcher, listener, clock, { timeouts: service, http2, serverName, reused });
  }

  /** A connection for a single request that changes its protocol. */
  ownConnection(listener: ChannelListener, clock: Clock, service: ServiceEntry): OwnConnection {
    const { protocol, serverName, address } = this.entry;
    const { connectTimeoutMs } = service;
    let secure: tls.ConnectionOptions | null = null;
    if (protocol !== 'http' && 'host' in address) {
      this.#trust ??= tls.createSecureContext(this.#trustedRoots === null ? {} : { ca: this.#trustedRoots });
      secure = secureConnectOptions({ ...address, serverName }, this.#trust);
    }
    return new OwnConnection(listener, clock, { address, secure, connectTimeoutMs });
  }

  closeIdle(): void {
    for (const connection of this.idle.splice(0)) connection.destroy();
    const dispatcher = this.#dispatcher;
    this.#dispatcher = null;
    this.#trust = null;
    // Its requests end first.
    dispatcher?.close().catch(() => {});
  }
}

/** A request that waits for a target. */
export interface Held {
  /** There may be one now. */
  onTargets(): void;
  /** There will be none in time. */
  onHoldEnd(): void;
}

export class Service implements Swept {
  entry: ServiceEntry;
  targets: readonly Target[] = [];
  readonly #clock: Clock;
  readonly affinity: AffinitySource;
  /** Those of `targets` that may be asked now. */
  #usable: readonly Target[] = [];
  /** When the answer to that changes by itself; 0: it does not. */
  #usableUntil = 0;
  #turn = 0;
  /** Since when each waits: the first to come is the first. */
  readonly #held = new Map<Held, number>();
  /** How long those waited that wait no more. */
  readonly #waits = new Float64Array(HISTOGRAM_LENGTH);
  #shed = 0;
  #retries = 0;
  #ejections = 0;
  #waking = false;
  readonly #onQueued: () => void;

  /** `onQueued` hears when the first begins to wait. */
  constructor(entry: ServiceEntry, clock: Clock, affinity: AffinitySource, onQueued: () => void = () => {}) {
    this.#onQueued = onQueued;
    this.entry = entry;
    this.#clock = clock;
    this.affinity = affinity;
  }

  update(entry: ServiceEntry, targets: readonly Target[]): void {
    this.entry = entry;
    this.targets = targets;
    this.#refresh();
    for (const held of this.#held.keys()) held.onTargets();
  }

  /** The service is no more: nobody needs to wait for it. */
  close(): void {
    for (const held of this.#held.keys()) {
      this.unhold(held);
      held.onHoldEnd();
    }
  }

  /** The next target by the service's policy, none of `tried`; null when there is no other, or none is to be asked. */
  pick(tried: readonly Target[], affinity: string | null): Target | null {
    const { entry } = this;
    if (entry.paused) return null;
    if (this.#usableUntil !== 0 && this.#clock.now() >= this.#usableUntil) this.#refresh();
    const candidates = this.#usable;
    const limit = this.#limit;
    if (entry.stickyCookie !== null && affinity !== null) {
      const bound = this.affinity.find(entry, affinity, candidates);
      // One that is full is not waited for: an answer from another worker is worth more than one from its own later.
      if (bound !== null && bound.inFlight < limit && !tried.includes(bound)) return bound;
    }
    return choose(entry.policy, { candidates, tried, limit, turn: this.#turn++, affinity });
  }

  targetFailed(target: Target): void {
    const { ejectAfter, ejectMs } = this.entry;
    target.failures++;
    if (ejectAfter === 0 || target.failures < ejectAfter) return;
    // Somebody must be asked: the last one never goes.
    if (this.#usable.length < 2 || !this.#usable.includes(target)) return;
    target.failures = 0;
    target.ejectedUntil = this.#clock.now() + ejectMs;
    this.#ejections++;
    this.#refresh();
  }

  /** Lets a request wait for a target; false when too many wait already, or this one has waited long enough. */
  hold(held: Held): boolean {
    if (this.#held.has(held)) return true;
    const { queueMax, queueTimeoutMs } = this.entry;
    if (this.#held.size >= queueMax || queueTimeoutMs === 0) return false;
    this.#held.set(held, this.#clock.now());
    if (this.#held.size === 1) {
      this.#clock.add(this);
      this.#onQueued();
    }
    return true;
  }

  unhold(held: Held): void {
    const since = this.#held.get(held);
    if (since === undefined) return;
    this.#held.delete(held);
    observe(this.#waits, 0, this.#clock.now() - since);
    if (this.#held.size === 0) this.#clock.delete(this);
  }

  sweep(now: number): void {
    for (const [held, since] of this.#held) {
      if (now - since < this.entry.queueTimeoutMs) break;
      this.unhold(held);
      this.shed();
      held.onHoldEnd();
    }
  }

  /** A request is sent away because it would wait too long, or did. */
  shed(): void {
    this.#shed++;
  }

  /** A request goes to another target, or once more to the same. */
  retried(): void {
    this.#retries++;
  }

  /** There are targets, and those that may be asked have all they can take. */
  get isBusy(): boolean {
    return !this.entry.paused && this.#usable.length > 0 && this.#usable.every((target) => !this.hasRoom(target));
  }

  hasRoom(target: Target): boolean {
    return target.inFlight < this.#limit;
  }

  /** A place that just became free is for those that wait, not for who comes now. */
  isTakenBefore(held: Held): boolean {
    return this.#waking && this.#held.size > 0 && !this.#held.has(held);
  }

  /** A target has one request less. */
  freed(): void {
    if (this.#held.size === 0 || this.#waking || this.#limit === Infinity) return;
    this.#waking = true;
    // Later: the connection this may be about is still being read, and what is left of that is no next answer.
    queueMicrotask(this.#wake);
  }

  readonly #wake = (): void => {
    for (const held of this.#held.keys()) {
      if (this.isBusy) break;
      held.onTargets();
    }
    this.#waking = false;
  };

  stats(now: number): ServiceStats {
    const [first] = this.#held.values();
    return {
      queued: this.#held.size,
      queuedMs: first === undefined ? 0 : Math.max(0, Math.round(now - first)),
      shed: this.#shed,
      retries: this.#retries,
      ejections: this.#ejections,
      waits: Array.from(this.#waits),
    };
  }

  get #limit(): number {
    return this.entry.concurrency === 0 ? Infinity : this.entry.concurrency;
  }

  #refresh(): void {
    const now = this.#clock.now();
    const { slowStartMs } = this.entry;
    const healthy = this.targets.filter(({ entry }) => entry.healthy);
    // When most look ill it is more likely the looking: then all are asked rather than the few crushed (Envoy's panic).
    const panic = healthy.length > 0 && healthy.length * 2 < this.targets.length;
    const asked = panic ? this.targets : healthy;
    const free = asked.filter(({ ejectedUntil }) => ejectedUntil <= now);
    this.#usable = free.length > 0 ? free : asked;
    // When all are new there is nobody to take their share.
    const someSettled = asked.some(({ since }) => now - since >= slowStartMs);
    let until = Infinity;
    for (const target of asked) {
      if (target.ejectedUntil > now) until = Math.min(until, target.ejectedUntil);
      const age = now - target.since;
      target.weight = target.entry.weight;
      if (age < slowStartMs) {
        if (someSettled) target.weight *= Math.max(SLOW_START_FLOOR, age / slowStartMs);
        // In twenty steps from nothing to its whole share.
        until = Math.min(until, now + slowStartMs / 20);
      }
    }
    this.#usableUntil = until === Infinity ? 0 : until;
  }
}
