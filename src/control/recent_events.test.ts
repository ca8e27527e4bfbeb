import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRecentEvents } from './recent_events.ts';
import type { RecentEvents } from './recent_events.ts';
import type { LoggedEvent } from '../log.ts';

const told = (events: readonly LoggedEvent[]): string[] => events.map(({ event }) => event);

function observe(recent: RecentEvents, second: number, event: string, service?: string): void {
  recent.observe({
    at: new Date(second * 1_000),
    level: 'info',
    event,
    fields: service === undefined ? {} : { service },
  });
}

test('keeps the last events of each service and of the program, in their order', () => {
  const recent = createRecentEvents();
  observe(recent, 1, 'started');
  observe(recent, 2, 'ready', 'web');
  observe(recent, 3, 'reloaded');
  observe(recent, 4, 'ready', 'api');
  assert.deepEqual(told(recent.list('web', 10)), ['ready']);
  assert.deepEqual(told(recent.list(null, 10)), ['started', 'ready', 'reloaded', 'ready']);
  assert.deepEqual(told(recent.list(null, 2)), ['reloaded', 'ready']);
  assert.deepEqual(told(recent.list('nobody', 2)), []);
});

test('a service that says much takes nothing from the others, and not more than its own memory', () => {
  const recent = createRecentEvents();
  observe(recent, 0, 'quiet', 'api');
  for (let i = 0; i < 10_000; i++) observe(recent, i, `line ${i}`, 'web');
  assert.deepEqual(told(recent.list('api', 10)), ['quiet']);
  const kept = told(recent.list('web', 100_000));
  assert.equal(kept.at(-1), 'line 9999');
  assert.ok(kept.length >= 1_000 && kept.length < 2_000, String(kept.length));
});

test('who follows hears what comes, until it has enough', () => {
  const recent = createRecentEvents();
  const heard: string[] = [];
  observe(recent, 1, 'before');
  {
    using _ = recent.follow(({ event }) => heard.push(event));
    observe(recent, 2, 'during');
  }
  observe(recent, 3, 'after');
  assert.deepEqual(heard, ['during']);
});
