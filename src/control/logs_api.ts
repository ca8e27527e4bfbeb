/** What the admin socket offers of what was logged. */
import { AdminError, taking } from './admin.ts';
import type { AdminVerb } from './admin.ts';
import { serviceOf } from './recent_events.ts';
import type { RecentEvents } from './recent_events.ts';
import type { LoggedEvent } from '../log.ts';

const DEFAULT_LINES = 100;
const MAX_LINES = 10_000;

export function logHandlers(
  events: RecentEvents,
  services: () => readonly string[],
): Readonly<Record<string, AdminVerb>> {
  return {
    /** `?service=NAME&lines=N&follow=1`; who follows is told the events one by one. */
    'GET /v1/logs': taking(['service', 'lines', 'follow'], async (input, signal, tell) => {
      const { service = null, lines = String(DEFAULT_LINES), follow = '0' } = input;
      if (service !== null && (typeof service !== 'string' || !services().includes(service))) {
        const names = services().join(', ');
        throw new AdminError(404, 'unknown_service', `there is no service "${String(service)}"; there are: ${names}`);
      }
      const count = typeof lines === 'string' && /^\d{1,5}$/.test(lines) ? Number(lines) : NaN;
      if (!(count <= MAX_LINES)) {
        throw new AdminError(400, 'bad_request', `"lines" must be a number up to ${MAX_LINES}`);
      }
      if (follow !== '0' && follow !== '1') throw new AdminError(400, 'bad_request', '"follow" must be 0 or 1');
      const kept = count === 0 ? [] : events.list(service, count);
      if (follow !== '1') return { events: kept.map(eventJson) };
      for (const event of kept) tell(eventJson(event));
      using _ = events.follow((event) => {
        if (service === null || serviceOf(event) === service) tell(eventJson(event));
      });
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      return {};
    }),
  };
}

export function eventJson({ at, level, event, fields }: LoggedEvent): unknown {
  return { time: at.toISOString(), level, event, ...fields };
}
