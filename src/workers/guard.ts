/**
 * What keeps workers from outliving us: one process, started first, that learns every process group through a pipe and
 * KILLs those left when the pipe ends, however the control plane ended. It is a shell script because it must cost
 * nothing and need nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Groups are kept as ` 12 34 `. A group that was removed is not in the list, so a number the system has given to
 * somebody else since is never killed.
 */
const SCRIPT = `
trap '' HUP INT TERM PIPE
groups=' '
while read -r word; do
  case "$word" in
    +*) groups="$groups\${word#+} " ;;
    -*) group="\${word#-}"
        case "$groups" in *" $group "*) groups="\${groups%% $group *} \${groups#* $group }" ;; esac ;;
  esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
exit 0
`;

export interface Guard {
  readonly pid: number;
  /** From now on this process group ends with us. */
  add(group: number): void;
  /** The group is gone. */
  remove(group: number): void;
  /** Ends the guard, and whatever is still registered. */
  close(): Promise<void>;
}

export class GuardError extends Error {}

export function createGuard(): Guard {
  const child = spawn('/bin/sh', ['-c', SCRIPT], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A session of its own: no terminal's Ctrl-C and no kill of our group reaches it.
    detached: true,
    env: {},
    cwd: '/',
  });
  const { pid } = child;
  if (pid === undefined) throw new GuardError('the guard process cannot be started: /bin/sh is missing');
  let closing = false;
  child.stdin.on('error', () => {});
  child.once('exit', () => {
    // Without it a kill -9 of ours would leave orphans: better no service than one that cannot be ended.
    if (!closing) throw new GuardError('the guard process has ended');
  });
  const tell = (line: string): void => void child.stdin.write(`${line}\n`);
  return {
    pid,
    add: (group) => tell(`+${group}`),
    remove: (group) => tell(`-${group}`),
    close: async () => {
      closing = true;
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    },
  };
}
