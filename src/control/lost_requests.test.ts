import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLostRequestsLog } from './lost_requests.ts';
import type { LostRequestsLog } from './lost_requests.ts';
import { createLogger } from '../log.ts';
import type { LoggedEvent } from '../log.ts';
import type { LostRequest } from '../snapshot.ts';

const EXIT = {
  service: 'web',
  worker: 'web/0/g1',
  pid: 7,
  exit: 'signal SIGKILL',
  reason: 'crash',
  output: ['last'],
} as const;

function scene(graceMs: number, settleMs: number): { lost: LostRequestsLog; events: LoggedEvent[] } {
  const events: LoggedEvent[] = [];
  const log = createLogger({ level: 'info', format: 'json', write: () => {}, observe: (event) => events.push(event) });
  return { lost: createLostRequestsLog({ log, graceMs, settleMs }), events };
}

function request(id: string): LostRequest {
  return { id, retried: true, worker: 'web/1/g2', status: 200, failure: null };
}

const told = ({ events }: { events: LoggedEvent[] }): unknown[] =>
  events.map(({ event, fields }) => ({ event, ...fields }));

test('one event joins what all proxies tell with how the worker ended, when nothing is open', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const here = scene(100, 1_000);
  here.lost.report(0, { target: 'web/0/g1', open: 2, count: 0, requests: [] });
  here.lost.exited(EXIT);
  here.lost.report(1, { target: 'web/0/g1', open: 0, count: 1, requests: [request('b')] });
  t.mock.timers.tick(500);
  assert.deepEqual(told(here), []);
  here.lost.report(0, { target: 'web/0/g1', open: 0, count: 2, requests: [request('a')] });
  assert.deepEqual(told(here), [{ event: 'requests_lost', ...EXIT, count: 3, requests: [request('b'), request('a')] }]);
  t.mock.timers.tick(5_000);
  assert.equal(here.events.length, 1);
});

test('what is not settled in time, or was open at a proxy that is gone, is not waited for', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const here = scene(100, 1_000);
  here.lost.exited(EXIT);
  here.lost.report(0, { target: 'web/0/g1', open: 2, count: 1, requests: [request('a')] });
  t.mock.timers.tick(100);
  t.mock.timers.tick(1_000);
  assert.deepEqual(told(here), [{ event: 'requests_lost', ...EXIT, count: 3, unsettled: 2, requests: [request('a')] }]);
  here.lost.exited({ ...EXIT, worker: 'web/0/g2' });
  here.lost.report(1, { target: 'web/0/g2', open: 1, count: 1, requests: [request('b')] });
  t.mock.timers.tick(100);
  assert.equal(here.events.length, 1);
  here.lost.proxyGone(1);
  assert.equal(here.events.length, 2);
});

test('an end without lost requests is no event, nor are lost requests without an end', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const here = scene(100, 1_000);
  here.lost.exited(EXIT);
  t.mock.timers.tick(100);
  here.lost.report(0, { target: 'web/1/g2', open: 0, count: 1, requests: [request('a')] });
  t.mock.timers.tick(1_000);
  here.lost.exited({ ...EXIT, worker: 'web/1/g2' });
  t.mock.timers.tick(100);
  assert.deepEqual(told(here), []);
});

test('no more than a hundred are told one by one', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const here = scene(100, 1_000);
  here.lost.exited(EXIT);
  for (let proxy = 0; proxy < 3; proxy++) {
    const requests = Array.from({ length: 100 }, (_, i) => request(`${proxy}-${i}`));
    here.lost.report(proxy, { target: EXIT.worker, open: 0, count: 1_000, requests });
  }
  t.mock.timers.tick(100);
  const [event] = here.events;
  assert.equal(event?.fields['count'], 3_000);
  assert.equal((event?.fields['requests'] as unknown[] | undefined)?.length, 100);
});
