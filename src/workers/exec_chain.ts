/**
 * The chain of programs a worker is started through: each sets one thing and becomes the next, so that the worker keeps
 * the pid. First what needs our rights, then the giving up of them.
 */
import { spawnSync } from 'node:child_process';
import type { ServiceConfig } from '../config/config.ts';
import type { Identity } from '../snapshot.ts';
import { findInPath } from './commands.ts';
import { passwdEntry } from './environment.ts';

/** Whom a worker runs as. */
export interface WorkerIdentity extends Identity {
  /** Supplementary ones; null: those of the user. */
  readonly groups: readonly number[] | null;
}

/** Programs that may be missing; null: it is. */
export interface Tools {
  /** One that knows what it is needed for: busybox's does not. */
  readonly setpriv: string | null;
  readonly prlimit: string | null;
  readonly taskset: string | null;
}

export interface ChainOptions {
  readonly limits: Pick<ServiceConfig['identity'], 'cpuAffinity' | 'rlimits'>;
  /** null: ours. */
  readonly identity: WorkerIdentity | null;
  /** The worker finds a listening socket at descriptor 3, as systemd hands them over. */
  readonly listenFds: boolean;
  readonly tools: Tools;
}

export interface Chain {
  /** What goes before the command. */
  readonly words: readonly string[];
  /** What the spawn itself has to do. */
  readonly spawnAs: { readonly uid: number; readonly gid: number } | null;
  /** What is done otherwise, or not at all, where a program is missing. */
  readonly warnings: readonly string[];
}

/** In an order in which each still may: a limit is raised only by root. */
export function execChain({ limits, identity, listenFds, tools }: ChainOptions): Chain {
  const words: string[] = [];
  const warnings: string[] = [];
  if (limits.cpuAffinity !== null) {
    if (tools.taskset !== null) words.push(tools.taskset, '-c', limits.cpuAffinity);
    else warnings.push('"cpu_affinity" is not heeded: taskset(1) is not in PATH');
  }
  const rlimits = Object.entries(limits.rlimits);
  if (rlimits.length > 0 && tools.prlimit !== null) {
    words.push(tools.prlimit, ...rlimits.map(([name, limit]) => `--${name}=${limit ?? 'unlimited'}`), '--');
  } else if (rlimits.length > 0) {
    words.push(...throughUlimit(rlimits));
    warnings.push('"rlimits" are set by ulimit of /bin/sh, as the worker\'s user: prlimit(1) is not in PATH');
  }
  if (tools.setpriv !== null) {
    words.push(tools.setpriv, '--pdeathsig', 'KILL', ...privileges(identity), '--');
  } else {
    const groups = identity === null ? '' : ', and they have no supplementary groups';
    warnings.push(
      `setpriv(1) of util-linux is not in PATH: only the guard process ends workers should we be killed${groups}`,
    );
  }
  // LISTEN_PID is the worker's own pid, which nobody can know before it is there. Last: a signal for the death of a
  // parent outlives an exec, and the pid is the same.
  if (listenFds) words.push('/bin/sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', 'sh');
  const spawnAs = tools.setpriv === null && identity !== null ? { uid: identity.uid, gid: identity.gid } : null;
  return { words, spawnAs, warnings };
}

function privileges(identity: WorkerIdentity | null): string[] {
  if (identity === null) return [];
  const words = ['--reuid', String(identity.uid), '--regid', String(identity.gid)];
  const { groups } = identity;
  if (groups !== null && groups.length > 0) return [...words, '--groups', groups.join(',')];
  const has = groups === null && passwdEntry(identity.uid) !== null;
  return [...words, has ? '--init-groups' : '--clear-groups'];
}

/** Letter and unit of ulimit in bytes (POSIX has only -f; the others are the same in dash, bash and busybox). */
const ULIMITS: Readonly<Record<string, readonly [letter: string, unit: number]>> = {
  as: ['v', 1024],
  core: ['c', 512],
  cpu: ['t', 1],
  data: ['d', 1024],
  fsize: ['f', 512],
  memlock: ['l', 1024],
  nofile: ['n', 1],
  nproc: ['u', 1],
  stack: ['s', 1024],
};

function throughUlimit(rlimits: readonly (readonly [name: string, limit: number | null])[]): string[] {
  const lines = rlimits.map(([name, limit]) => {
    const [letter, unit] = ULIMITS[name] ?? [];
    const value = limit === null || unit === undefined ? 'unlimited' : String(Math.ceil(limit / unit));
    // dash calls the number of processes -p.
    return name === 'nproc'
      ? `{ ulimit -u ${value} 2>/dev/null || ulimit -p ${value}; }`
      : `ulimit -${letter} ${value}`;
  });
  return ['/bin/sh', '-c', `${lines.join(' && ')} && exec "$@"`, 'sh'];
}

const found = new Map<string, Tools>();

/** Those of a PATH, looked for once. */
export function findTools(searchPath: string): Tools {
  let tools = found.get(searchPath);
  if (tools === undefined) {
    const setpriv = findInPath('setpriv', searchPath);
    const able =
      setpriv !== null && spawnSync(setpriv, ['--pdeathsig', 'KILL', '--', '/bin/sh', '-c', ':']).status === 0;
    tools = {
      setpriv: able ? setpriv : null,
      prlimit: findInPath('prlimit', searchPath),
      taskset: findInPath('taskset', searchPath),
    };
    found.set(searchPath, tools);
  }
  return tools;
}
