/** How many files and sockets a process of ours may have open, which Node takes all of. */
import { readFileSync } from 'node:fs';

/** For logs, the control plane, and what the runtime itself has. */
const RESERVED = 64;

export function openFilesLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
    return hard === undefined || hard === 'unlimited' ? Infinity : Number(hard);
  } catch {
    return Infinity;
  }
}

/**
 * As many clients as a proxy can have at each entrypoint so that there are descriptors left to ask workers: without one
 * nobody is answered any more, the silent connections of strangers included.
 */
export function connectionsWithin(openFiles: number, entrypoints: number): number {
  return Math.max(1, Math.floor((openFiles - RESERVED) / (entrypoints + 1)));
}
