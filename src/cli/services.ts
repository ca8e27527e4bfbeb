/** Verbs that change a running service: they wait until it is done, and fail with the reason. */
import { callDaemon, DaemonError, isRecord } from './admin_client.ts';
import { findSocket } from './configuration.ts';
import { describeEvent } from './logs.ts';
import { during } from './progress.ts';
import { complain, complainAbout, print } from './terminal.ts';
import { escapeControls } from '../log.ts';

export interface ServiceVerb {
  readonly words: readonly string[];
  readonly socket: string | undefined;
  readonly config: string | undefined;
  /** The daemon's answer instead of a sentence. */
  readonly json: boolean;
}

/** All workers are replaced, one after the other. Exit 0, or 1 with the reason: then the old ones are there. */
export async function restart(verb: ServiceVerb): Promise<number> {
  return one(verb, 'restart', 'restarting', (service) => `${service} is restarted`);
}

/** From now on so many workers, until the next reload that changes it. */
export async function scale(verb: ServiceVerb): Promise<number> {
  const [service, workers, more] = verb.words;
  if (service === undefined || workers === undefined || more !== undefined || !/^(?:auto|\d+)$/.test(workers)) {
    return misused('give a service and a number: proxy scale SERVICE N|auto');
  }
  const count = workers === 'auto' ? workers : Number(workers);
  const done =
    workers === 'auto' ? `${service} has as many workers as are configured` : `${service} has ${workers} workers`;
  return ask(verb, `scaling ${service}`, '/v1/services/scale', { service, workers: count }, () => done);
}

/** Its workers begin. Exit 0 when one is ready, 1 with the reason when the first was not. */
export async function start(verb: ServiceVerb): Promise<number> {
  return one(verb, 'start', 'starting', (service) => `${service} is started`);
}

/** Its workers end, visitors get 503, until `start` or a start of the daemon. */
export async function stopService(verb: ServiceVerb): Promise<number> {
  return one(verb, 'stop', 'stopping', (service) => `${service} is stopped`);
}

/** Requests wait as long as the service's queue lets them, then get 503 with the message. */
export async function pause(verb: ServiceVerb, message: string | undefined): Promise<number> {
  const body = message === undefined ? {} : { message };
  return one(verb, 'pause', 'pausing', (service) => `${service} is paused: proxy resume ${service}`, body);
}

export async function resume(verb: ServiceVerb): Promise<number> {
  return one(verb, 'resume', 'resuming', (service) => `${service} goes on`);
}

/** A new release: its steps, then its workers. Exit 0, or 1: then the old one is there. */
export async function deploy(verb: ServiceVerb, release: string | undefined): Promise<number> {
  const done = (service: string, answer: unknown): string => {
    const made = isRecord(answer) && isRecord(answer['release']) ? answer['release'] : {};
    const again = isRecord(answer) && answer['steps_done_before'] === true ? ', whose steps had been done before' : '';
    return escapeControls(`${service} runs release ${String(made['name'])}${again}, in ${String(made['directory'])}`);
  };
  return one(verb, 'deploy', 'deploying', done, release === undefined ? {} : { release });
}

/** A verb that takes a service and nothing else. */
async function one(
  verb: ServiceVerb,
  name: string,
  doing: string,
  done: (service: string, answer: unknown) => string,
  body: Readonly<Record<string, unknown>> = {},
): Promise<number> {
  const [service, more] = verb.words;
  if (service === undefined || more !== undefined) return misused(`give one service: proxy ${name} SERVICE`);
  const said = `${doing} ${service}`;
  return ask(verb, said, `/v1/services/${name}`, { service, ...body }, (answer) => done(service, answer));
}

/** What goes on is told line by line, unless only the answer is wanted. */
async function ask(
  { socket, config, json }: ServiceVerb,
  doing: string,
  path: string,
  body: Readonly<Record<string, unknown>>,
  done: (answer: unknown) => string,
): Promise<number> {
  try {
    const answer = await during(escapeControls(doing), (tell) => {
      const onProgress = (event: unknown): void => (json ? undefined : tell(describeEvent(event)));
      return callDaemon(findSocket(socket, config), 'POST', path, body, { onProgress });
    });
    print(json ? JSON.stringify(answer, null, 2) : done(answer));
    return 0;
  } catch (error) {
    return failed(error);
  }
}

function failed(error: unknown): number {
  complainAbout(error);
  if (error instanceof DaemonError) for (const line of error.details) complain(`  ${escapeControls(line)}`);
  return 1;
}

function misused(problem: string): number {
  complain(`proxy: ${problem}`);
  return 1;
}
