/** Why a process of ours has ended, told from what is known of its end. */
import type { Cause } from './states.ts';

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  /** We had told it to end. */
  readonly asked: boolean;
  /** We ended it by force. */
  readonly killed: boolean;
  readonly wasReady: boolean;
  /** The kernel has killed somebody for want of memory at about that time. */
  readonly outOfMemory: boolean;
  /** What it wrote last. */
  readonly tail: readonly string[];
}

/** A process does that to itself; any other signal came from somebody. */
const OWN_SIGNALS: ReadonlySet<string> = new Set([
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGILL',
  'SIGPIPE',
  'SIGSEGV',
  'SIGSYS',
  'SIGTRAP',
  'SIGXCPU',
  'SIGXFSZ',
]);
/** Of a shell, and of what starts commands as a shell does: not executable, not found. */
const NOT_RUN: ReadonlySet<number | null> = new Set([126, 127]);
/** Node's and Python's word for it, and gunicorn's. */
const ADDRESS_IN_USE = /EADDRINUSE|address (?:is )?already in use|connection in use:/i;
/** A shell's word for a child that TERM has ended. */
const BY_TERM = 128 + 15;
/** Of its last lines: what was long before is no reason. */
export const READ_LINES = 50;

/** In order of authority. */
export function classifyExit({ code, signal, asked, killed, wasReady, outOfMemory, tail }: Exit): Cause {
  if (killed) return 'killed';
  if (signal === 'SIGKILL') return outOfMemory ? 'oom' : 'killed';
  // uvicorn ends by the signal that stopped it, when it has stopped well.
  if (asked && (code === 0 || code === BY_TERM || signal === 'SIGTERM')) return 'clean';
  if (signal !== null) return OWN_SIGNALS.has(signal) ? (wasReady ? 'crash' : 'boot') : 'signal';
  if (wasReady || asked) return code === 0 ? 'clean' : 'crash';
  if (NOT_RUN.has(code)) return 'command';
  if (tail.slice(-READ_LINES).some((line) => ADDRESS_IN_USE.test(line))) return 'port_taken';
  return 'boot';
}

export function describeExit({ code, signal }: Pick<Exit, 'code' | 'signal'>): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}
