/**
 * The control plane's view of a service that is launched: the release it runs, the steps before it, and the supervisor of
 * its workers. What serves is only ever replaced by what was prepared and is ready.
 */
import type { LaunchedService } from './launch.ts';
import { runPrestart } from './prestart.ts';
import type { StepStatus } from './prestart.ts';
import { definitionOf } from './releases.ts';
import type { Prepared, Release, Releases } from './releases.ts';
import type { ServiceState } from './states.ts';
import { createSupervisor } from './supervisor.ts';
import type { WorkerStatus } from './slots.ts';
import type { RollResult, Supervisor, SupervisorOptions, Totals } from './supervisor.ts';
import { persist } from '../defects.ts';
import { sleep, within } from '../lifecycle.ts';
import type { TargetEntry } from '../snapshot.ts';

/** Between attempts of a first start whose steps failed. */
const RETRY_MS = 60_000;

export interface DeploymentOptions extends SupervisorOptions {
  readonly releases: Releases;
}

export type DeployResult =
  | {
      readonly ok: true;
      readonly release: Release;
      /** False: its steps had been done before. */
      readonly ran: boolean;
    }
  | Extract<RollResult, { ok: false }>;

export interface DeploymentStatus {
  /** null: none yet. */
  readonly release: Release | null;
  /** null: none is run. */
  readonly step: StepStatus | null;
  /** For another instance, which prepares a release. */
  readonly waits: boolean;
  /** Why there is nothing to run; null: there is, or will be. */
  readonly problem: string | null;
}

export interface Deployment {
  targets(): readonly TargetEntry[];
  state(): ServiceState;
  status(): DeploymentStatus;
  workers(): readonly WorkerStatus[];
  totals(): Totals;
  /** Why nothing is ready, for the client's 503: what a visitor may know and an operator can act on. */
  unavailable(): string;
  reportFailure(targetId: string): void;
  /**
   * Becomes `next`, its workers one after the other if they must be `others`; another definition is another release, whose
   * steps go first. Or stays as it was and says why.
   */
  update(next: LaunchedService, options: { readonly others: boolean }): Promise<RollResult>;
  /** Takes the last update back; what it goes back to has been prepared once. */
  revert(): Promise<void>;
  /** The same definition as another release. */
  deploy(name: string): Promise<DeployResult>;
  /** Replaces all workers by others of the same release; what was given up is tried again. */
  restart(): Promise<RollResult>;
  /** null: as configured. */
  scale(count: number | null): Promise<void>;
  stop(options: { readonly graceMs: number }): Promise<void>;
}

/** What runs, or will. */
interface Running {
  readonly service: LaunchedService;
  readonly release: Release;
}

export function createDeployment(options: DeploymentOptions): Deployment {
  const { releases, log, onChange } = options;
  const stopping = new AbortController();
  let { service } = options;
  let release: Release | null = null;
  let supervisor: Supervisor | null = null;
  /** Before the last update, with whether its workers were others. */
  let before: (Running & { readonly others: boolean }) | null = null;
  let step: StepStatus | null = null;
  let waiting = false;
  let failure: Extract<Prepared, { ok: false }> | null = null;
  /** Releases that came to nothing before any worker of theirs. */
  let unprepared = 0;
  /** Ends the attempts of a first start. */
  let hurry = new AbortController();

  let turn: Promise<unknown> = Promise.resolve();
  const queue = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(() => {
      hurry = new AbortController();
      return work();
    });
    turn = mine.catch(() => {});
    return mine;
  };
  /** One change after the other. While nothing runs there is nothing to lose: who waits to try again makes room. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    if (supervisor === null) hurry.abort();
    return queue(work);
  };

  const prepare = async (next: LaunchedService, name: string | null): Promise<Prepared> => {
    try {
      const prepared = await releases.prepare({
        service: next,
        name,
        first: supervisor === null,
        signal: stopping.signal,
        onWait: () => {
          waiting = true;
          log.info('prestart_waiting', { reason: 'another instance prepares a release' });
        },
        run: (placed, beforeStep) => {
          waiting = false;
          return runPrestart({
            service: placed,
            identity: options.identityOf(placed),
            guard: options.guard,
            records: options.records,
            log,
            stop: stopping.signal,
            hurry: hurry.signal,
            beforeStep,
            onStep: (status) => {
              step = status;
              onChange();
            },
          });
        },
      });
      if (!prepared.ok) unprepared++;
      return prepared;
    } finally {
      waiting = false;
      step = null;
      onChange();
    }
  };

  /** Nothing ran: from now on this does, or the reason is known. */
  const begin = async (next: LaunchedService, name: string | null): Promise<Prepared> => {
    const prepared = await prepare(next, name);
    failure = prepared.ok ? null : prepared;
    if (!prepared.ok) {
      log.error('release_failed', { step: prepared.step, reason: prepared.reason });
      onChange();
    } else if (!stopping.signal.aborted) {
      service = next;
      ({ release } = prepared);
      supervisor = createSupervisor({ ...options, service: placed({ service, release }) });
      onChange();
    }
    return prepared;
  };

  /** The same, resolved when the first worker is ready. */
  const beginAndServe = async (name: string | null): Promise<DeployResult> => {
    const prepared = await begin(service, name);
    if (!prepared.ok) return refusal(prepared);
    const problem = (await supervisor?.begun) ?? null;
    if (problem === null) return prepared;
    return { ok: false, reason: `the first worker did not become ready: ${problem.reason}`, output: problem.output };
  };

  const firstStart = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      if (await queue(async () => supervisor !== null || (await begin(service, null)).ok)) return;
      await sleep(RETRY_MS, stopping.signal);
    }
  };
  void persist(firstStart, log, stopping.signal);

  /** Puts `next` in the place of what runs. */
  const become = async (running: Supervisor, next: Running, others: boolean): Promise<RollResult> => {
    const rolled: RollResult = others ? await running.roll(placed(next)) : { ok: true };
    if (!rolled.ok) return rolled;
    if (!others) running.adopt(placed(next));
    const isOther = next.release.id !== release?.id;
    ({ service, release } = next);
    if (isOther) await releases.commit(service, release);
    return rolled;
  };

  return {
    targets: () => supervisor?.targets() ?? [],
    state: () => {
      if (step !== null || waiting) return 'prestart';
      return supervisor?.state() ?? (stopping.signal.aborted ? 'stopped' : failure === null ? 'starting' : 'failed');
    },
    status: () => ({ release, step, waits: waiting, problem: failure === null ? null : refusal(failure).reason }),
    workers: () => supervisor?.snapshot() ?? [],
    totals: () => {
      const { restarts, rolls } = supervisor?.totals() ?? { restarts: {}, rolls: { done: 0, failed: 0 } };
      return { restarts, rolls: { ...rolls, failed: rolls.failed + unprepared } };
    },
    unavailable: () => {
      if (supervisor !== null) return reasonFor(supervisor.snapshot());
      if (step !== null || failure === null) return 'the app is being prepared for its start';
      const what = failure.step === null ? 'preparing the app' : `the app's step ${failure.step} before the start`;
      return `${what} failed; tried again in a minute`;
    },
    reportFailure: (targetId) => supervisor?.reportFailure(targetId),
    update: (next, { others }) =>
      inTurn(async () => {
        if (supervisor === null || release === null) {
          const prepared = await begin(next, null);
          return prepared.ok ? { ok: true } : refusal(prepared);
        }
        const old = { service, release };
        const isSame = definitionOf(next) === definitionOf(service);
        const prepared = isSame ? null : await prepare(next, null);
        if (prepared?.ok === false) return refusal(prepared);
        const rolls = others || prepared !== null;
        const result = await become(supervisor, { service: next, release: prepared?.release ?? release }, rolls);
        if (!result.ok) return result;
        before = { ...old, others: rolls };
        await supervisor.scale(null);
        return result;
      }),
    revert: () =>
      inTurn(async () => {
        if (supervisor === null || before === null) return;
        await become(supervisor, before, before.others);
        before = null;
        await supervisor.scale(null);
      }),
    deploy: (name) =>
      inTurn(async () => {
        if (supervisor === null) return beginAndServe(name);
        const prepared = await prepare(service, name);
        if (!prepared.ok) return refusal(prepared);
        const result = await become(supervisor, { service, release: prepared.release }, true);
        return result.ok ? prepared : result;
      }),
    restart: () =>
      inTurn(async () => {
        if (supervisor === null || release === null) return beginAndServe(null);
        supervisor.retryNow();
        return supervisor.roll(placed({ service, release }), 'operator');
      }),
    scale: async (count) => supervisor?.scale(count),
    stop: async ({ graceMs }) => {
      stopping.abort();
      await Promise.all([supervisor?.stop({ graceMs }), within(turn, graceMs, undefined)]);
    },
  };
}

/** With the directory its release has. */
function placed({ service, release }: Running): LaunchedService {
  return { ...service, directory: release.directory };
}

function refusal({ step, reason, output }: Extract<Prepared, { ok: false }>): Extract<RollResult, { ok: false }> {
  return { ok: false, reason: step === null ? reason : `the step ${step} before the start failed: ${reason}`, output };
}

function reasonFor(workers: readonly WorkerStatus[]): string {
  const states = workers.map(({ state }) => state);
  if (states.includes('starting')) return 'the app is starting';
  if (states.includes('fatal')) return 'the app does not run, and is tried once a minute';
  if (states.includes('backoff')) return 'the app ended and is being restarted';
  return 'no worker is ready';
}
