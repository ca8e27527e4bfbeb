/** A proxy's view of a service: which workers may be asked, how busy each is with our requests, and which one is next. */
import type { Address, ServiceEntry } from '../../snapshot.ts';
import type { Origin, UpstreamConnection } from './connection.ts';

export class Target implements Origin {
  readonly id: string;
  readonly address: Address;
  readonly idle: UpstreamConnection[] = [];
  inFlight = 0;
  /** Left the upstreams part: finishes what it has, gets nothing new. */
  removed = false;

  constructor(id: string, address: Address) {
    this.id = id;
    this.address = address;
  }

  closeIdle(): void {
    for (const connection of this.idle.splice(0)) connection.destroy();
  }
}

export class Service {
  entry: ServiceEntry;
  targets: readonly Target[];
  #turn = 0;

  constructor(entry: ServiceEntry, targets: readonly Target[]) {
    this.entry = entry;
    this.targets = targets;
  }

  /** The next target by the service's policy, none of `tried`; null when there is no other. */
  pick(tried: readonly Target[]): Target | null {
    const { targets } = this;
    const count = targets.length;
    if (count === 0) return null;
    const roundRobin = this.entry.policy === 'round_robin';
    // Starting one further each time spreads ties, of which an idle service has nothing else.
    const start = this.#turn++ % count;
    let best: Target | null = null;
    for (let i = 0; i < count; i++) {
      const target = targets[(start + i) % count];
      if (target === undefined || tried.includes(target)) continue;
      if (roundRobin) return target;
      if (best === null || target.inFlight < best.inFlight) best = target;
    }
    return best;
  }
}
