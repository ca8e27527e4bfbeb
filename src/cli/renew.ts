/** `proxy renew`: through the daemon that runs, or as a control plane of its own when none does. */
import { callDaemon, DaemonError, DaemonUnreachableError, isRecord } from './admin_client.ts';
import { findSocket, readConfiguration } from './configuration.ts';
import { parseDryRunReport, renderDryRun } from './dry_run_report.ts';
import { showProgress } from './progress.ts';
import { ownCommand } from './run.ts';
import { complain, complainAbout, formatTable, print } from './terminal.ts';
import { startControlPlane } from '../control/control.ts';
import { ListenError } from '../control/listeners.ts';
import { createLogWriter } from '../control/log_writer.ts';
import { createLogger } from '../log.ts';

const INTERRUPTED = 130;
const PREFLIGHT_FAILED = 3;

export interface RenewOptions {
  readonly names: readonly string[];
  readonly force: boolean;
  /** null: for real. */
  readonly trial: { readonly ca: string; readonly preflightOnly: boolean; readonly timeoutMs: number } | null;
  readonly json: boolean;
  readonly socket: string | undefined;
  readonly config: string | undefined;
}

/** Exit codes as config/verbs.md lists them. */
export async function renew(options: RenewOptions): Promise<number> {
  const { names, force, trial } = options;
  const interrupted = new AbortController();
  const onSignal = (): void => {
    // Asked twice, nobody wants to wait.
    if (interrupted.signal.aborted) process.exit(INTERRUPTED);
    interrupted.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  let report: unknown;
  try {
    using _ = showProgress(process.stderr, trial === null ? 'renewing' : 'trying');
    const settings = trial && { dry_run: true, ca: trial.ca, preflight_only: trial.preflightOnly };
    const body = { names, force, ...settings, ...(trial && { timeout_ms: trial.timeoutMs }) };
    // Hanging up is how the daemon is told to give up, and to take back what it has armed.
    const socket = findSocket(options.socket, options.config);
    report = await callDaemon(socket, 'POST', '/v1/renew', body, {
      signal: interrupted.signal,
    });
  } catch (error) {
    if (interrupted.signal.aborted) return INTERRUPTED;
    if (error instanceof DaemonUnreachableError && options.socket === undefined) {
      return renewAlone(options, interrupted.signal);
    }
    complainAbout(error);
    if (error instanceof DaemonError) for (const detail of error.details) complain(detail);
    return 1;
  }
  return tell(report, options.json);
}

async function renewAlone(options: RenewOptions, interrupted: AbortSignal): Promise<number> {
  const { names, force, trial } = options;
  const read = readConfiguration(options.config);
  if (read === null) return 2;
  const logWriter = createLogWriter(process.stderr);
  const log = createLogger({ level: 'warn', format: 'text', write: (line) => logWriter.write(line) });
  let report;
  try {
    using _ = showProgress(process.stderr, trial === null ? 'renewing' : 'trying');
    const plane = await startControlPlane({
      // The entrypoints answer the CA; the app is not needed for that.
      config: { ...read.config, services: [] },
      reread: read.reread,
      purpose: 'renew',
      env: process.env,
      log,
      logFormat: 'text',
      logWriter,
      proxyCommand: ownCommand(),
    });
    const stop = (): void => void plane.stop('interrupted');
    interrupted.addEventListener('abort', stop);
    try {
      report =
        trial === null
          ? await plane.certificates.renew({ names, force })
          : await plane.certificates.dryRun({ names, ...trial }, interrupted);
    } finally {
      interrupted.removeEventListener('abort', stop);
      await plane.stop('renewed');
    }
  } catch (error) {
    if (interrupted.aborted) return INTERRUPTED;
    complainAbout(error);
    return trial !== null && error instanceof ListenError ? PREFLIGHT_FAILED : 1;
  }
  return interrupted.aborted ? INTERRUPTED : tell(report, options.json);
}

function tell(report: unknown, json: boolean): number {
  const fields = isRecord(report) ? report : {};
  const results = Array.isArray(fields['results']) ? fields['results'].filter(isRecord) : [];
  const trial = parseDryRunReport(report);
  if (json) print(JSON.stringify(report, null, 2));
  else if (results.length === 0) print('there is no certificate to renew');
  else if (trial !== null) print(renderDryRun(trial, Date.now()));
  else print(formatTable(results.map(describe)));
  return typeof fields['exitCode'] === 'number' ? fields['exitCode'] : 1;
}

function describe(result: Readonly<Record<string, unknown>>): string[] {
  const { name, outcome, reason, serial } = result;
  const words: Readonly<Record<string, string>> = {
    renewed: 'renewed',
    not_due: 'not due yet (--force renews all the same)',
    failed: 'FAILED',
  };
  const detail = reason ?? (serial === undefined ? '' : `serial ${String(serial)}`);
  return [String(name), words[String(outcome)] ?? String(outcome), String(detail)];
}
