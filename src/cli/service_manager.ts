/**
 * Telling systemd how we are (sd_notify(3)). Node has no datagram sockets in files, so `systemd-notify` says it, which is
 * there wherever somebody listens; the unit needs NotifyAccess=all for it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { sleep } from '../lifecycle.ts';
import type { Logger } from '../log.ts';

export interface ServiceManager {
  /** All that was to be started is; from now on until `signal` it is told, as often as it wants, that we live. */
  ready(status: string, signal: AbortSignal): Promise<void>;
  stopping(): Promise<void>;
}

type Env = Readonly<Record<string, string | undefined>>;

export function createServiceManager(env: Env, pid: number, log: Logger): ServiceManager {
  let failed = false;
  const tell = async (...lines: readonly string[]): Promise<void> => {
    if (!env['NOTIFY_SOCKET']) return;
    try {
      const child = spawn('systemd-notify', lines, { env: { NOTIFY_SOCKET: env['NOTIFY_SOCKET'], PATH: env['PATH'] } });
      const [code] = await once(child, 'exit');
      if (code !== 0) throw new Error(`systemd-notify ended with ${code}`);
      failed = false;
    } catch (error) {
      if (!failed) log.error('service_manager_not_told', { error });
      failed = true;
    }
  };
  /** A control plane that hangs does not come here. */
  const sayWeLive = async (everyMs: number, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await tell('WATCHDOG=1');
      await sleep(everyMs, signal);
    }
  };
  return {
    ready: async (status, signal) => {
      await tell('READY=1', `STATUS=${status}`, `MAINPID=${pid}`);
      const everyMs = watchdogMs(env, pid);
      if (everyMs !== null) void sayWeLive(everyMs, signal);
    },
    stopping: () => tell('STOPPING=1'),
  };
}

/** How often to say that we live: a third of the time after which silence is taken for death. null: nobody waits for it. */
export function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: Env, pid: number): number | null {
  const after = Number(WATCHDOG_USEC);
  if (!Number.isSafeInteger(after) || after <= 0) return null;
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(pid)) return null;
  return Math.max(1, Math.floor(after / 3_000));
}
