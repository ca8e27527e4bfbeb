/** Which core does what, and what the figures were taken on. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

export interface Layout {
  /** Cores, as `taskset -c` takes them. */
  readonly contender: string;
  /** What a contender of several processes has: one core for all would only show how they take turns on it. */
  readonly all: string;
  readonly load: string;
  readonly workers: readonly [string, string];
}

/** The contender has a core to itself; with two cores the workers share the load generator's. */
export function layOut(): Layout {
  const cores = allowedCores();
  const [contender, load, first, second] = cores;
  if (contender === undefined || load === undefined)
    throw new Error('the bench needs two cores: one for a contender alone');
  return { contender, all: cores.join(','), load, workers: [first ?? load, second ?? first ?? load] };
}

/** This process and the load it starts from now on: contenders and workers are started elsewhere. */
export function moveToLoadCore(layout: Layout): void {
  const { status, stderr } = spawnSync('taskset', ['-a', '-p', '-c', layout.load, String(process.pid)]);
  if (status !== 0) throw new Error(`taskset: ${String(stderr)}`);
}

/** A command's words for running it on a core, and no longer than this process. */
export function pinned(core: string): readonly string[] {
  return ['setpriv', '--pdeathsig', 'TERM', 'taskset', '-c', core];
}

function allowedCores(): string[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [from, to = from] = range.split('-').map(Number);
    if (from === undefined || to === undefined) return [];
    return Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
  });
}

/** The first line a program says of its version; null where there is no such program. */
export function versionOf(command: string, ...args: readonly string[]): string | null {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === null) return null;
  return `${stdout}${stderr}`.trim().split('\n')[0] ?? '';
}

export function describeMachine(): Readonly<Record<string, string>> {
  return {
    cpu: `${os.cpus().length} × ${os.cpus()[0]?.model ?? '?'}`,
    kernel: os.release(),
    node: `${process.version}, OpenSSL ${process.versions.openssl}`,
    openssl: versionOf('openssl', 'version') ?? 'absent',
    wrk: versionOf('wrk', '-v')?.replace(/ Copyright.*/, '') ?? 'absent',
    h2load: versionOf('h2load', '--version') ?? 'absent',
  };
}
