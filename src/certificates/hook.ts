/** A command of the operator's that is run on events of certificates: to tell somebody, or to hand a certificate on. */
import { spawn } from 'node:child_process';
import type { CertificateEvent } from './events.ts';
import { tellDefect } from '../defects.ts';
import type { Logger } from '../log.ts';

const TIMEOUT_MS = 60_000;
/** Of what it wrote to its standard error. */
const KEPT_CHARACTERS = 500;
const MAX_WAITING = 100;

/** Runs `command` for one event after another; never throws. Events beyond those that may wait are logged as lost. */
export function createHook(command: () => readonly string[] | null, log: Logger): (event: CertificateEvent) => void {
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  return (event) => {
    const argv = command();
    if (argv === null) return;
    if (waiting >= MAX_WAITING) return log.warn('hook_skipped', { event: event.type, name: event.item.name });
    waiting++;
    last = last
      .then(() => run(argv, event, log))
      .catch((error: unknown) => tellDefect(log, error))
      .finally(() => waiting--);
  };
}

function run([executable = '', ...args]: readonly string[], event: CertificateEvent, log: Logger): Promise<void> {
  return new Promise((resolve) => {
    const { name } = event.item;
    const child = spawn(executable, args, {
      env: { PATH: process.env['PATH'], ...variables(event) },
      stdio: ['ignore', 'ignore', 'pipe'],
      // A group of its own, so that all of it can be ended.
      detached: true,
    });
    let said = '';
    const timer = setTimeout(() => {
      if (child.pid !== undefined) killGroup(child.pid);
    }, TIMEOUT_MS);
    const end = (problem: Readonly<Record<string, unknown>> | null): void => {
      clearTimeout(timer);
      if (problem !== null) log.warn('hook_failed', { event: event.type, name, stderr: said, ...problem });
      resolve();
    };
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-KEPT_CHARACTERS)));
    child.on('error', (error) => end({ error }));
    child.on('close', (code, signal) => end(code === 0 ? null : { exit_code: code, signal }));
  });
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // ESRCH: nobody is left in it, but somebody holds its stderr.
  }
}

/** What the command is told; never a key. */
export function variables(event: CertificateEvent): Record<string, string> {
  const { name, hosts, certificate } = event.item;
  return {
    PROXY_EVENT: event.type,
    PROXY_NAME: name,
    PROXY_HOSTS: hosts.join(' '),
    PROXY_SERIAL: certificate?.serial ?? '',
    PROXY_NOT_AFTER: certificate === null ? '' : new Date(certificate.notAfter).toISOString(),
    PROXY_ERROR: event.type === 'failed' ? event.reason : '',
    PROXY_ALARM: event.type === 'expiring' ? event.level : '',
  };
}
