/** Processes as the system sees them, and programs run to their end. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; never rejects for its exit code. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly input?: string } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: options.cwd, env: options.env, stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}

/** Pids whose environment, as they were started, has `variable=value`. Zombies have none. */
export function processesWith(variable: string, value: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const entries = readFileSync(`/proc/${name}/environ`, 'latin1').split('\0');
      return entries.includes(`${variable}=${value}`) ? Number(name) : [];
    } catch {
      return [];
    }
  });
}

export function childrenOf(pid: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(readFileSync(`/proc/${name}/status`, 'latin1'))
        ? Number(name)
        : [];
    } catch {
      return [];
    }
  });
}

export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(match?.[1] ?? 0) * 1024;
}

/** CPU time it has used, in seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // Counted from behind the name, which may have anything in it; the kernel's tick is 10 ms.
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user) + Number(system)) / 100;
}

/** How many files and sockets it has open. */
export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export interface MemoryWatch extends Disposable {
  /** By how much the one that grew most had grown at its peak, since the watch began. */
  readonly grownBytes: () => number;
  /** The most that all together had at one time. */
  readonly peakBytes: () => number;
  /** Looks for the last time. */
  stop(): void;
}

/** Looks at the resident memory of processes ten times a second. */
export function watchMemory(pids: readonly number[]): MemoryWatch {
  const before = pids.map(residentBytes);
  let grown = 0;
  let peak = before.reduce((sum, bytes) => sum + bytes, 0);
  const look = (): void => {
    const now = pids.map(residentBytes);
    grown = Math.max(grown, ...now.map((bytes, i) => bytes - (before[i] ?? 0)));
    peak = Math.max(
      peak,
      now.reduce((sum, bytes) => sum + bytes, 0),
    );
  };
  const timer = setInterval(look, 100);
  return {
    grownBytes: () => grown,
    peakBytes: () => peak,
    stop: () => {
      clearInterval(timer);
      look();
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
