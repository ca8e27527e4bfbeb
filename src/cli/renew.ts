/** `proxy renew`: through the daemon that runs, or as a control plane of its own when none does. */
import { callDaemon, DaemonError, DaemonUnreachableError, isRecord } from './admin_client.ts';
import { findSocket, readConfiguration } from './configuration.ts';
import { ownCommand } from './run.ts';
import { complain, complainAbout, formatTable, print } from './terminal.ts';
import { startControlPlane } from '../control/control.ts';
import { createLogWriter } from '../control/log_writer.ts';
import { createLogger } from '../log.ts';

export interface RenewOptions {
  readonly names: readonly string[];
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly json: boolean;
  readonly socket: string | undefined;
  readonly config: string | undefined;
}

/** Exit codes as the README lists them. */
export async function renew(options: RenewOptions): Promise<number> {
  process.once('SIGINT', () => process.exit(130));
  let report: unknown;
  try {
    const { names, force, dryRun } = options;
    const body = { names, force, dry_run: dryRun };
    report = await callDaemon(findSocket(options.socket, options.config), 'POST', '/v1/renew', body);
  } catch (error) {
    if (error instanceof DaemonUnreachableError && options.socket === undefined) return renewAlone(options);
    complainAbout(error);
    if (error instanceof DaemonError) for (const detail of error.details) complain(detail);
    return 1;
  }
  return tell(report, options.json);
}

async function renewAlone(options: RenewOptions): Promise<number> {
  const config = readConfiguration(options.config);
  if (config === null) return 2;
  const logWriter = createLogWriter(process.stderr);
  const log = createLogger({ level: 'warn', format: 'text', write: (line) => logWriter.write(line) });
  let report;
  try {
    const plane = await startControlPlane({
      // The entrypoints answer the CA; the app is not needed for that.
      config: { ...config, services: [] },
      purpose: 'renew',
      env: process.env,
      log,
      logFormat: 'text',
      logWriter,
      proxyCommand: ownCommand(),
    });
    const { names, force, dryRun } = options;
    report = await plane.renewer.renew({ names, force, dryRun });
    await plane.stop('renewed');
  } catch (error) {
    complainAbout(error);
    return 1;
  }
  return tell(report, options.json);
}

function tell(report: unknown, json: boolean): number {
  const fields = isRecord(report) ? report : {};
  const results = Array.isArray(fields['results']) ? fields['results'].filter(isRecord) : [];
  if (json) print(JSON.stringify(report, null, 2));
  else if (results.length === 0) print('there is no certificate to renew');
  else print(formatTable(results.map(describe)));
  return typeof fields['exitCode'] === 'number' ? fields['exitCode'] : 1;
}

function describe(result: Readonly<Record<string, unknown>>): string[] {
  const { name, outcome, reason, serial } = result;
  const words: Readonly<Record<string, string>> = {
    renewed: 'renewed',
    not_due: 'not due yet (--force renews all the same)',
    would_renew: 'a trial order succeeded',
    failed: 'FAILED',
  };
  const detail = reason ?? (serial === undefined ? '' : `serial ${String(serial)}`);
  return [String(name), words[String(outcome)] ?? String(outcome), String(detail)];
}
