/** How many connections each client has. An IPv6 client has a whole /64 of addresses: they are one. */
import net from 'node:net';

export interface ClientCounter {
  /** Counts one more, unless the client has `max` already; 0: no limit. */
  enter(address: string, max: number): boolean;
  leave(address: string): void;
}

export function createClientCounter(): ClientCounter {
  const counts = new Map<string, number>();
  return {
    enter: (address, max) => {
      const client = clientOf(address);
      const count = counts.get(client) ?? 0;
      if (max !== 0 && count >= max) return false;
      counts.set(client, count + 1);
      return true;
    },
    leave: (address) => {
      const client = clientOf(address);
      const count = (counts.get(client) ?? 1) - 1;
      if (count > 0) counts.set(client, count);
      else counts.delete(client);
    },
  };
}

/** The address; of IPv6 its first four groups. */
export function clientOf(address: string): string {
  if (!net.isIPv6(address)) return address;
  const [head = [], tail = []] = address.split('::', 2).map((part) => (part === '' ? [] : part.split(':')));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail].slice(0, 4).join(':');
}
