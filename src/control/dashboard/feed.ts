/**
 * What an open page is told, as server-sent events: `history` once, then `status` each second, `sample` and `event` as they
 * come. Nothing is asked of it, and one that reads too slowly is let go: it comes again and gets the whole.
 */
import type http from 'node:http';
import type { History } from './history.ts';
import type { RecentEvents } from '../recent_events.ts';
import { tellDefect } from '../../defects.ts';
import { sleep } from '../../lifecycle.ts';
import type { LoggedEvent, Logger } from '../../log.ts';

const STATUS_MS = 1_000;
/** Bytes that wait for a page that reads slowly. */
const MAX_UNREAD = 4 * 1024 * 1024;
const MAX_PAGES = 32;
/** Of the kept ones, those a page begins with. */
const EVENTS = 200;

export interface FeedSources {
  readonly status: () => unknown;
  readonly history: History;
  readonly events: RecentEvents;
  readonly log: Logger;
}

export interface Feed {
  /** Answers until the page is gone; false when there are too many already. */
  serve(response: http.ServerResponse): boolean;
}

export function createFeed({ status, history, events, log }: FeedSources): Feed {
  const pages = new Set<http.ServerResponse>();

  const send = (response: http.ServerResponse, event: string, data: unknown): void => {
    if (response.writableLength > MAX_UNREAD) return void response.destroy();
    response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };

  /** One status for all pages. */
  const tellStatus = async (): Promise<void> => {
    while (pages.size > 0) {
      try {
        const now = status();
        for (const page of pages) send(page, 'status', now);
      } catch (error) {
        tellDefect(log, error);
      }
      await sleep(STATUS_MS);
    }
  };

  return {
    serve: (response) => {
      if (pages.size >= MAX_PAGES) return false;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      send(response, 'history', {
        samples: history.samples(),
        events: events.list(null, EVENTS).filter(isShown).map(toJson),
      });
      send(response, 'status', status());
      const following = new DisposableStack();
      following.use(history.follow((sample) => send(response, 'sample', sample)));
      following.use(
        events.follow((event) => {
          if (isShown(event)) send(response, 'event', toJson(event));
        }),
      );
      pages.add(response);
      response.on('close', () => {
        pages.delete(response);
        following.dispose();
      });
      if (pages.size === 1) void tellStatus();
      return true;
    },
  };
}

/** What workers write is for `proxy logs`: it would bury the rest. */
function isShown({ event }: LoggedEvent): boolean {
  return event !== 'worker_output';
}

function toJson({ at, level, event, fields }: LoggedEvent): unknown {
  return { time: at.toISOString(), level, event, ...fields };
}
