/** Steps before the first worker of a release: one after the other, each to its end, with a worker's rights. */
import type { WorkerIdentity } from './exec_chain.ts';
import { isHopeless, launchStep } from './launch.ts';
import type { LaunchedService } from './launch.ts';
import { readOutput } from './output.ts';
import type { WorkerRecords } from './records.ts';
import type { PrestartConfig } from '../config/config.ts';
import { aborted, sleep, within } from '../lifecycle.ts';
import { describeError } from '../log.ts';
import type { Logger } from '../log.ts';

/** A database that is not up yet is up by then; a broken migration stays broken. */
const RETRY_DELAYS_MS: readonly number[] = [5_000, 10_000, 20_000];
/** A step may take as long as it takes, but not silently. */
const STILL_RUNNING_MS = 30_000;
/** From TERM to KILL. */
const STOP_MS = 10_000;
/** What the last lines get to arrive after the end of their writer. */
const OUTPUT_MS = 1_000;
/** Lines of a failed step that are told with it. */
const TOLD_LINES = 20;

/** Where it is. */
export interface StepStatus {
  readonly name: string;
  /** From 1, `of` so many. */
  readonly number: number;
  readonly of: number;
  readonly attempt: number;
  /** Of this attempt; milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface PrestartOptions {
  /** Its `directory` is that of the release. */
  readonly service: LaunchedService;
  readonly identity: WorkerIdentity | null;
  readonly guard: { add(group: number): void; remove(group: number): void };
  readonly records: WorkerRecords;
  readonly log: Logger;
  /** Ends the step that runs, with its whole group, and starts no other. */
  readonly stop: AbortSignal;
  /** Whoever waits wants to know now: a step that fails is not tried again. */
  readonly hurry: AbortSignal;
  /** Before each attempt; its rejection stops everything. */
  readonly beforeStep: () => Promise<void>;
  readonly onStep: (status: StepStatus) => void;
  readonly retryDelaysMs?: readonly number[];
  readonly stillRunningMs?: number;
}

export type PrestartOutcome = { readonly ok: true } | PrestartFailure;

export interface PrestartFailure {
  readonly ok: false;
  readonly step: string;
  readonly reason: string;
  /** Its last lines. */
  readonly output: readonly string[];
}

export async function runPrestart(options: PrestartOptions): Promise<PrestartOutcome> {
  const { service, stop, hurry, log, retryDelaysMs = RETRY_DELAYS_MS } = options;
  for (const [index, step] of service.prestart.entries()) {
    for (let attempt = 1; ; attempt++) {
      await options.beforeStep();
      if (stop.aborted) return { ok: false, step: step.name, reason: 'stopped', output: [] };
      const startedAt = Date.now();
      const { name } = step;
      options.onStep({ name, number: index + 1, of: service.prestart.length, attempt, startedAt });
      log.info('prestart_started', { step: name, attempt });
      const failure = await runStep(step, options);
      const took = { step: name, duration_ms: Date.now() - startedAt };
      if (failure === null) {
        log.info('prestart_done', took);
        break;
      }
      const { reason, final, output } = failure;
      const delay = final || stop.aborted || hurry.aborted ? undefined : retryDelaysMs[attempt - 1];
      log.error('prestart_failed', { ...took, reason, output, retry_in_ms: delay ?? null });
      if (delay !== undefined) await sleep(delay, AbortSignal.any([stop, hurry]));
      if (delay === undefined || hurry.aborted) return { ok: false, step: name, reason, output };
    }
  }
  return { ok: true };
}

interface StepFailure {
  readonly reason: string;
  /** Another attempt would end as this one. */
  readonly final: boolean;
  readonly output: readonly string[];
}

/** Null when it ended well. */
async function runStep(step: PrestartConfig, options: PrestartOptions): Promise<StepFailure | null> {
  const { service, identity, stop, guard, records, stillRunningMs = STILL_RUNNING_MS } = options;
  const name = `${service.name}/prestart/${step.name}`;
  let launched: Awaited<ReturnType<typeof launchStep>>;
  try {
    launched = await launchStep(step, { service, identity, name });
  } catch (error) {
    return { reason: describeError(error), final: isHopeless(error), output: [] };
  }
  const { child, pid } = launched;
  guard.add(pid);
  records.add(pid);
  const output = readOutput({ stdout: child.stdout, stderr: child.stderr, worker: name, log: options.log });
  const over = new AbortController();
  const exited = new Promise<string | null>((resolve) => {
    child.once('exit', (code, signal) => {
      over.abort();
      resolve(code === 0 ? null : signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
  });
  const doom = endWhen(step.timeoutMs, stop, over.signal, pid);
  void tellWhile(over.signal, stillRunningMs, (runningMs) =>
    options.log.info('prestart_running', { step: step.name, running_ms: runningMs }),
  );
  const exit = await exited;
  // A step is over with its process: what it left behind would hold its output, and nobody watches it.
  signalGroup(pid, 'SIGKILL');
  await within(output.ended, OUTPUT_MS, undefined);
  guard.remove(pid);
  records.remove(pid);
  const reason = (await doom) ?? exit;
  return reason === null ? null : { reason, final: false, output: output.tail(TOLD_LINES) };
}

/** Ends the group when its time is up or all is to stop; resolves, when the step is over, with why: null if neither. */
async function endWhen(timeoutMs: number, stop: AbortSignal, over: AbortSignal, group: number): Promise<string | null> {
  const end = AbortSignal.any([stop, over]);
  if (timeoutMs > 0) await sleep(timeoutMs, end);
  else await aborted(end);
  if (over.aborted) return null;
  signalGroup(group, 'SIGTERM');
  await sleep(STOP_MS, over);
  signalGroup(group, 'SIGKILL');
  return stop.aborted ? 'stopped' : `took longer than ${timeoutMs} ms`;
}

async function tellWhile(over: AbortSignal, everyMs: number, tell: (runningMs: number) => void): Promise<void> {
  const begun = Date.now();
  for (;;) {
    await sleep(everyMs, over);
    if (over.aborted) return;
    tell(Date.now() - begun);
  }
}

function signalGroup(group: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-group, signal);
  } catch {
    // ESRCH: nobody is left in it.
  }
}
