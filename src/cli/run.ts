/** `proxy run`: the daemon, from its file to its last signal. */
import { existsSync } from 'node:fs';
import { isSea } from 'node:sea';
import { isatty } from 'node:tty';
import { banner } from './banner.ts';
import { readConfiguration, readWords } from './configuration.ts';
import { readDeployment } from './deployment.ts';
import type { DeploymentWords } from './deployment.ts';
import { createServiceManager } from './service_manager.ts';
import { complain, complainAbout } from './terminal.ts';
import type { ControlPlane } from '../control/plane.ts';
import { startControlPlane } from '../control/control.ts';
import { createLogWriter } from '../control/log_writer.ts';
import { createRecentEvents } from '../control/recent_events.ts';
import { surviveRejections } from '../defects.ts';
import { createLogger } from '../log.ts';

/** Under npm one Ctrl-C arrives twice, from the terminal and from npm. */
const ONE_KEYSTROKE_MS = 300;

/** Linux's way to the executable of whoever asks. */
const OWN_IMAGE = '/proc/self/exe';

/** Exit 0 stopped, 1 failed, 2 bad configuration. */
export async function run(option: string | undefined, words: DeploymentWords): Promise<number> {
  const wanted = readDeployment(words);
  if (wanted.kind === 'incomplete' || (wanted.kind === 'deployment' && option !== undefined)) {
    complain(
      `proxy: ${wanted.kind === 'incomplete' ? wanted.problem : 'either --config FILE, or what else would be in it'}`,
    );
    return 2;
  }
  const read = wanted.kind === 'deployment' ? readWords(wanted.deployment) : readConfiguration(option);
  if (read === null) return 2;
  const { config, reread } = read;
  const terminal = process.stdout.isTTY === true;
  const { level, format } = config.logging;
  const logFormat = format === 'auto' ? (terminal ? 'text' : 'json') : format;
  const writer = createLogWriter(process.stdout);
  const events = createRecentEvents();
  const log = createLogger({
    level,
    format: logFormat,
    write: (line) => writer.write(line),
    observe: events.observe,
  });

  // A defect must not leave half a service behind: the guard ends what is ours, whoever started us starts the whole again.
  process.on('uncaughtException', (error) => {
    complain(`proxy: ${error.stack ?? error.message}`);
    process.exit(1);
  });

  surviveRejections(log);

  const stopRequested = Promise.withResolvers<string>();
  let firstSignalAt: number | null = null;
  const onStop = (signal: NodeJS.Signals): void => {
    // The guard sees our end and kills every worker; proxies end with their channel.
    if (firstSignalAt !== null && Date.now() - firstSignalAt > ONE_KEYSTROKE_MS) process.exit(0);
    firstSignalAt ??= Date.now();
    stopRequested.resolve(signal);
  };
  // All from the first moment: what has no handler would end us, or, as PID 1, be lost.
  const running = Promise.withResolvers<ControlPlane>();
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  // As a second TERM.
  process.on('SIGQUIT', () => process.exit(0));
  process.on('SIGUSR1', () => void running.promise.then((plane) => plane.reopenLogs()));
  process.on('SIGHUP', () => {
    // A terminal that was closed says so by the same signal.
    if (terminal && !isatty(1)) onStop('SIGHUP');
    else void running.promise.then((plane) => plane.reload());
  });

  let plane: ControlPlane;
  try {
    plane = await startControlPlane({
      config,
      reread,
      env: process.env,
      log,
      logFormat,
      events,
      logWriter: writer,
      proxyCommand: ownCommand(),
    });
  } catch (error) {
    complainAbout(error);
    await writer.flush();
    process.exit(1);
  }
  running.resolve(plane);
  const { stop, stopped } = plane;
  const manager = createServiceManager(process.env, process.pid, log);
  const ended = new AbortController();
  void manager.ready(`serving ${config.sites.map(({ name }) => name).join(', ')}`, ended.signal);
  void stopRequested.promise.then((signal) => {
    void manager.stopping();
    return stop(signal);
  });
  if (terminal && logFormat === 'text') writer.write(banner(plane));
  else log.info('started', { pid: process.pid, configuration: config.file });

  await stopped;
  ended.abort();
  await writer.flush();
  process.exit(0);
}

/** The executable and arguments that start this program again, in another role. */
export function ownCommand(): readonly string[] {
  // The file as it was when we started: at its path may be another version by now.
  if (isSea()) return [existsSync(OWN_IMAGE) ? OWN_IMAGE : process.execPath];
  return [process.execPath, ...process.execArgv, process.argv[1] ?? ''];
}
