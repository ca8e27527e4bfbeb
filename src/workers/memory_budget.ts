/** Whether another worker fits into the memory that is left. Pure. */
import type { MachineMemory } from '../machine.ts';

/** Above what workers hold by now: they grow a little. */
const MARGIN = 1.1;
/** Of the limit, for the proxies, the system and page cache that is of use; at most. */
const RESERVE_SHARE = 0.1;
const RESERVE_MAX = 256 * 1024 ** 2;
const MIB = 1024 ** 2;

export interface Holder {
  readonly ready: boolean;
  /** Bytes; null: not known. */
  readonly memory: number | null;
}

export interface Room {
  /** How many workers more; Infinity: as far as is known, any number. */
  readonly more: number;
  /** How that was found, for people. */
  readonly sum: string;
}

const UNKNOWN: Room = { more: Infinity, sum: 'not known yet what a worker needs' };

/** `workers`: those there are, also those that are being started. The first is never too many: nobody knows its size. */
export function roomFor(workers: readonly Holder[], machine: MachineMemory | null): Room {
  const sizes = workers.flatMap(({ ready, memory }) => (ready && memory !== null ? memory : [])).toSorted(byNumber);
  const largest = sizes[Math.ceil(sizes.length * 0.95) - 1];
  if (largest === undefined || machine === null) return UNKNOWN;
  const reserve = Math.min(machine.limit * RESERVE_SHARE, RESERVE_MAX);
  // The others will be as large when they have done as much.
  const owed = workers.reduce((sum, { memory }) => sum + Math.max(0, largest - (memory ?? 0)), 0);
  const left = machine.available - reserve - owed;
  const needed = Math.round(largest * MARGIN);
  return {
    more: Math.max(0, Math.floor(left / needed)),
    sum:
      `${workers.length} × ${mib(largest)} + reserve ${mib(reserve)} of ${mib(machine.limit)} ` +
      `leave ${mib(Math.max(0, left))}, another needs ${mib(needed)}`,
  };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

function byNumber(a: number, b: number): number {
  return a - b;
}
