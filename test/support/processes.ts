/** Processes as the system sees them, and programs run to their end. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';

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

/** Seconds of CPU time that processes have used so far, together; `children`: and those they have started and waited for. */
export function cpuSeconds(pids: readonly number[], { children = false } = {}): number {
  return pids.reduce((sum, pid) => {
    // Behind the name: columns 14 and 15 of the whole are its own time, 16 and 17 its children's, in hundredths.
    const columns = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ').map(Number) ?? [];
    const [user = 0, system = 0, childrenUser = 0, childrenSystem = 0] = columns.slice(11, 15);
    return sum + (user + system + (children ? childrenUser + childrenSystem : 0)) / 100;
  }, 0);
}

/** Seconds of CPU time this machine has given to anybody so far. */
export function machineCpuSeconds(): number {
  return os.cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + (user + nice + sys + irq) / 1_000, 0);
}
