/** What the admin socket offers about services. */
import { AdminError, taking } from './admin.ts';
import type { AdminVerb } from './admin.ts';
import { eventJson } from './logs_api.ts';
import { serviceOf } from './recent_events.ts';
import type { RecentEvents } from './recent_events.ts';
import type { RunningService } from './services.ts';
import { RELEASE_NAME } from '../config/services.ts';
import type { LoggedEvent } from '../log.ts';

/** What somebody who waits for workers wants to hear; lines of steps come beside them. */
const TOLD = /^(?:prestart_|release_|roll_|worker_(?:ready|stopped|exited|waits_for_memory)$)/;

export function serviceHandlers(
  services: () => readonly RunningService[],
  events: RecentEvents,
): Readonly<Record<string, AdminVerb>> {
  const find = (input: Readonly<Record<string, unknown>>): RunningService => {
    const { service: name } = input;
    const known = services();
    const found = known.find(({ config }) => config.name === name);
    if (found !== undefined) return found;
    const names = known.map(({ config }) => config.name).join(', ');
    throw new AdminError(404, 'unknown_service', `there is no service "${String(name)}"; there are: ${names}`);
  };
  const follow = (name: string, tell: (progress: unknown) => void): Disposable =>
    events.follow((event) => {
      if (serviceOf(event) === name && isTold(event)) tell(eventJson(event));
    });
  return {
    'POST /v1/services/pause': taking(['service', 'message'], async (input) => {
      const service = find(input);
      const { message = 'the service is paused' } = input;
      if (typeof message !== 'string' || !/^\P{C}{1,200}$/u.test(message)) {
        throw new AdminError(400, 'bad_request', '"message" must be one line of up to 200 characters');
      }
      if (service.held()?.admission === 'stopped') throw new AdminError(422, 'stopped', 'it is stopped');
      service.pause(message);
      return told(service);
    }),
    'POST /v1/services/resume': taking(['service'], async (input) => {
      const service = find(input);
      if (service.held()?.admission === 'stopped') {
        throw new AdminError(422, 'stopped', `it is stopped: proxy start ${service.config.name}`);
      }
      service.resume();
      return told(service);
    }),
    'POST /v1/services/stop': taking(['service'], async (input) => {
      const service = find(input);
      await service.halt();
      return told(service);
    }),
    'POST /v1/services/start': taking(['service'], async (input) => {
      const service = find(input);
      const result = await service.start();
      if (!result.ok) throw new AdminError(422, 'not_ready', `${result.reason}; it is tried again`, result.output);
      return told(service);
    }),
    'POST /v1/services/deploy': taking(['service', 'release'], async (input, _signal, tell) => {
      const service = find(input);
      const { name } = service.config;
      const { release = new Date().toISOString() } = input;
      if (typeof release !== 'string' || !RELEASE_NAME.test(release)) {
        const message = 'a release is called by up to 128 letters, digits, blanks and ._:+/@-';
        throw new AdminError(400, 'bad_request', message);
      }
      using _ = follow(name, tell);
      const result = await service.deploy(release);
      if (!result.ok) {
        throw new AdminError(422, 'not_deployed', `${result.reason}; ${remains(service)}`, result.output);
      }
      const hasSteps = service.config.prestart.length > 0;
      return { service: name, release: result.release, steps_done_before: hasSteps && !result.ran };
    }),
    'POST /v1/services/restart': taking(['service'], async (input, _signal, tell) => {
      const service = find(input);
      using _ = follow(service.config.name, tell);
      const result = await service.restart();
      if (!result.ok)
        throw new AdminError(422, 'not_restarted', `${result.reason}; nothing was changed`, result.output);
      return told(service);
    }),
    'POST /v1/services/scale': taking(['service', 'workers'], async (input, _signal, tell) => {
      const service = find(input);
      const { workers } = input;
      const isCount = typeof workers === 'number' && Number.isInteger(workers) && workers >= 1 && workers <= 1_000;
      if (!isCount && workers !== 'auto') {
        throw new AdminError(400, 'bad_request', '"workers" must be a number from 1 to 1000, or auto');
      }
      if (service.state() !== null && service.workers().length === 0) {
        throw new AdminError(422, 'not_scaled', 'it has no workers yet: the steps before its start come first');
      }
      if (service.state() === null) {
        throw new AdminError(422, 'not_scaled', 'its upstreams are not ours: only workers of a command can be scaled');
      }
      if (service.held()?.admission === 'stopped') throw new AdminError(422, 'stopped', 'it is stopped');
      using _ = follow(service.config.name, tell);
      await service.scale(isCount ? workers : null);
      return told(service);
    }),
  };
}

function told(service: RunningService): unknown {
  const { config } = service;
  return { service: config.name, workers: service.workers().map(({ id, state }) => ({ id, state })) };
}

function isTold({ event, fields }: LoggedEvent): boolean {
  return TOLD.test(event) || (event === 'worker_output' && String(fields['worker']).includes('/prestart/'));
}

function remains(service: RunningService): string {
  const { release = null } = service.deployment() ?? {};
  return release === null ? 'nothing is served' : `release ${release.name ?? release.id} goes on`;
}
