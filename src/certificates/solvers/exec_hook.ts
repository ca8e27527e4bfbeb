/**
 * Records made by a command of the operator's: `COMMAND… present|cleanup NAME VALUE`. One at a time, because what such
 * commands change is often one file or one answer of an API that they read before they write.
 */
import { spawn } from 'node:child_process';
import { ChallengeError } from './challenge_error.ts';
import type { RecordEditor, TxtRecord } from './dns01.ts';

/** Between asking a command to end and making it. */
const KILL_AFTER_MS = 2_000;
const KEPT_STDERR = 4_096;
const SHOWN_LINES = 5;

export interface ExecHookOptions {
  readonly command: readonly string[];
  readonly timeoutMs: number;
  /** What the command inherits. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export function createExecHook(options: ExecHookOptions): RecordEditor {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (run: () => Promise<void>): Promise<void> => {
    const turn = last.then(run);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    add: (record, signal) => inTurn(() => runHook(options, 'present', record, signal)),
    remove: (record) => inTurn(() => runHook(options, 'cleanup', record, null)),
  };
}

function runHook(
  { command, timeoutMs, env }: ExecHookOptions,
  action: 'present' | 'cleanup',
  { name, value, zone }: TxtRecord,
  signal: AbortSignal | null,
): Promise<void> {
  const [file = '', ...args] = command;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const child = spawn(file, [...args, action, name, value], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // A group of its own: what it starts ends with it.
      detached: true,
      env: {
        ...env,
        PROXY_DNS_ACTION: action,
        PROXY_DNS_NAME: name,
        PROXY_DNS_VALUE: value,
        PROXY_DNS_ZONE: zone ?? '',
      },
    });
    let stderr = '';
    let ended: 'timeout' | 'aborted' | null = null;
    let killer: NodeJS.Timeout | undefined;
    const end = (why: 'timeout' | 'aborted'): void => {
      if (ended !== null) return;
      ended = why;
      killGroup(child.pid, 'SIGTERM');
      killer = setTimeout(() => {
        killGroup(child.pid, 'SIGKILL');
        // Somebody of another group may still hold it open.
        child.stderr.destroy();
      }, KILL_AFTER_MS);
    };
    const timer = setTimeout(end, timeoutMs, 'timeout');
    const onAbort = (): void => end('aborted');
    signal?.addEventListener('abort', onAbort, { once: true });
    const settle = (outcome: () => void): void => {
      clearTimeout(timer);
      clearTimeout(killer);
      signal?.removeEventListener('abort', onAbort);
      outcome();
    };
    const fail = (code: 'HOOK_FAILED' | 'HOOK_TIMEOUT', what: string, cause?: unknown): void =>
      reject(new ChallengeError(code, `${file} ${action} ${name} ${what}${lastLines(stderr)}`, { cause }));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-KEPT_STDERR)));
    child.on('error', (error) => settle(() => fail('HOOK_FAILED', `cannot be run (${error.message})`, error)));
    child.on('close', (code, killedBy) => {
      // A command that went on in the background must not change the zone behind our back.
      if (ended !== null) killGroup(child.pid, 'SIGKILL');
      settle(() => {
        if (ended === 'aborted') reject(signal?.reason as Error);
        else if (ended === 'timeout') fail('HOOK_TIMEOUT', `took longer than ${timeoutMs} ms and was ended`);
        else if (code === 0) resolve();
        else fail('HOOK_FAILED', killedBy === null ? `exited with ${code}` : `was ended by ${killedBy}`);
      });
    });
  });
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It is gone already.
  }
}

function lastLines(stderr: string): string {
  const lines = stderr.trim().split('\n').slice(-SHOWN_LINES).join('\n');
  return lines === '' ? '' : `: ${lines}`;
}
