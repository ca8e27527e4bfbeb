/** What the admin socket offers of what was logged. */
import { AdminError } from './admin.ts';
import type { AdminHandler } from './admin.ts';
import { serviceOf } from './recent_events.ts';
import type { RecentEvents } from './recent_events.ts';
import type { LoggedEvent } from '../log.ts';

const DEFAULT_LINES = 100;
const MAX_LINES = 10_000;

export function logHandlers(
  events: RecentEvents,
  services: () => readonly string[],
): Readonly<Record<string, AdminHandler>> {
  return {
    /** `?service=NAME&lines=N&follow=1`; who follows is told the events one by one. */
    'GET /v1/logs': async ({ service = null, lines = String(DEFAULT_LINES), follow }, signal, tell) => {
      if (service !== null && (typeof service !== 'string' || !services().includes(service))) {
        const names = services().join(', ');
        throw new AdminError(404, 'unknown_service', `there is no service "${String(service)}"; there are: ${names}`);
      }
      const count = Number(lines);
      if (!Number.isInteger(count) || count < 0 || count > MAX_LINES) {
        throw new AdminError(400, 'bad_request', `"lines" must be a number up to ${MAX_LINES}`);
      }
      const kept = count === 0 ? [] : events.list(service, count);
      if (follow !== '1') return { events: kept.map(eventJson) };
      for (const event of kept) tell(eventJson(event));
      using _ = events.follow((event) => {
        if (service === null || serviceOf(event) === service) tell(eventJson(event));
      });
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      return {};
    },
  };
}

export function eventJson({ at, level, event, fields }: LoggedEvent): unknown {
  return { time: at.toISOString(), level, event, ...fields };
}
