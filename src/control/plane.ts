/** The running control plane, as those who operate it and those who show it see it. */
import type { Health } from './health.ts';
import type { Listener } from './listeners.ts';
import type { ProxyPool } from './proxies.ts';
import type { RecentEvents } from './recent_events.ts';
import type { RunningService } from './services.ts';
import type { Sample } from './dashboard/samples.ts';
import type { MachineStatus } from './machine_status.ts';
import type { Certificates } from '../certificates/certificates.ts';
import type { Config } from '../config/config.ts';
import type { Problem } from '../config/load.ts';
import type { GroupUsage } from '../workers/process_usage.ts';

export interface ControlPlane {
  readonly config: Config;
  readonly listeners: readonly Listener[];
  services(): readonly RunningService[];
  readonly proxies: ProxyPool;
  readonly certificates: Certificates;
  readonly startedAt: number;
  /** What was logged last. */
  readonly events: RecentEvents;
  /** Ended processes that nobody buries; null: we are not PID 1. */
  zombies(): number | null;
  /** Lines nobody took in time. */
  droppedLogLines(): number;
  health(): Health;
  reloads(): Reloads;
  /** Of the last seconds; null: none was taken yet. */
  sample(): Sample | null;
  machine(): MachineStatus;
  /** Of a process of ours and its group; null: not known. */
  processUsage(pid: number): GroupUsage | null;
  /** Reads the file again. */
  reload(): Promise<ReloadOutcome>;
  /** Log files were moved away: new ones take their place. */
  reopenLogs(): void;
  /** Ends everything within the grace period. */
  stop(reason: string): Promise<void>;
  /** Resolves when proxies and workers have ended. */
  readonly idle: Promise<void>;
  /** Resolves when everything has ended. */
  readonly stopped: Promise<void>;
}

export interface Reloads {
  readonly done: number;
  readonly refused: number;
  /** Whether the last one was; the start counts as one. */
  readonly lastDone: boolean;
  readonly lastDoneAt: number;
  /** Why the last one was refused; null: it was not. */
  readonly problem: string | null;
}

export type ReloadOutcome =
  | { readonly ok: true; readonly changes: readonly string[]; readonly notReloaded: readonly string[] }
  | { readonly ok: false; readonly reason: string; readonly problems: readonly Problem[] };
