import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { runPrestart } from './prestart.ts';
import type { PrestartOptions, PrestartOutcome, StepStatus } from './prestart.ts';
import { serviceConfig } from '../../test/support/values.ts';
import { createLogger } from '../log.ts';
import { eventually } from '../../test/support/eventually.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-prestart-'));
after(() => rmSync(folder, { recursive: true }));

interface Run {
  readonly outcome: Promise<PrestartOutcome>;
  readonly steps: StepStatus[];
  readonly groups: Set<number>;
  events(name: string): Record<string, unknown>[];
}

/** Steps as shell lines, by name. */
function begin(lines: Readonly<Record<string, string>>, changes: Partial<PrestartOptions> = {}, timeoutMs = 0): Run {
  const logged: Record<string, unknown>[] = [];
  const steps: StepStatus[] = [];
  const groups = new Set<number>();
  const prestart = Object.entries(lines).map(([name, line]) => ({
    name,
    command: ['sh', '-c', line],
    shownCommand: ['sh'],
    timeoutMs,
  }));
  const registry = {
    add: (group: number) => void groups.add(group),
    remove: (group: number) => void groups.delete(group),
  };
  const outcome = runPrestart({
    service: { ...serviceConfig({ directory: folder, prestart, env: { GREETING: 'hello' } }), command: ['app'] },
    identity: null,
    guard: registry,
    records: registry,
    log: createLogger({
      level: 'debug',
      format: 'json',
      write: (line) => logged.push(JSON.parse(line) as Record<string, unknown>),
    }),
    stop: new AbortController().signal,
    hurry: new AbortController().signal,
    beforeStep: () => Promise.resolve(),
    onStep: (status) => steps.push(status),
    retryDelaysMs: [10, 20],
    ...changes,
  });
  return { outcome, steps, groups, events: (name) => logged.filter(({ event }) => event === name) };
}

test('steps run in order, in the directory and environment of a worker, their lines under their names', async () => {
  const run = begin({ first: 'echo $GREETING; pwd', second: 'echo $PROXY_WORKER >&2' });
  assert.deepEqual(await run.outcome, { ok: true });
  assert.deepEqual(
    run.events('worker_output').map(({ worker, line }) => [worker, line]),
    [
      ['web/prestart/first', 'hello'],
      ['web/prestart/first', folder],
      ['web/prestart/second', 'web/prestart/second'],
    ],
  );
  assert.deepEqual(
    run.steps.map(({ name, number, of, attempt }) => [name, number, of, attempt]),
    [
      ['first', 1, 2, 1],
      ['second', 2, 2, 1],
    ],
  );
  assert.equal(run.groups.size, 0);
});

test('a step that fails is tried again, then ends all with its last lines; the one after it is not begun', async () => {
  const run = begin({ first: 'echo x >> count; echo broken; exit 7', second: 'touch second' });
  assert.deepEqual(await run.outcome, { ok: false, step: 'first', reason: 'exit code 7', output: ['broken'] });
  assert.equal(readFileSync(path.join(folder, 'count'), 'utf8'), 'x\nx\nx\n');
  assert.deepEqual(
    run.events('prestart_failed').map(({ retry_in_ms: delay }) => delay),
    [10, 20, null],
  );
  assert.equal(existsSync(path.join(folder, 'second')), false);
});

test('a step that works at the second attempt is done', async () => {
  const run = begin({ first: 'test -e there || { touch there; exit 1; }' });
  assert.deepEqual(await run.outcome, { ok: true });
  assert.deepEqual(
    run.steps.map(({ attempt }) => attempt),
    [1, 2],
  );
});

test('what cannot be found is not tried again', async () => {
  const run = begin(
    {},
    {
      service: {
        ...serviceConfig({
          directory: folder,
          prestart: [{ name: 'a', command: ['./nothing'], shownCommand: ['./nothing'], timeoutMs: 0 }],
        }),
        command: ['app'],
      },
    },
  );
  const outcome = await run.outcome;
  assert.match(outcome.ok ? '' : outcome.reason, /^command not found or not executable/);
  assert.equal(run.events('prestart_failed').length, 1);
});

test('what came from a variable is not told when it cannot be found', async () => {
  const prestart = [{ name: 'a', command: ['hunter2'], shownCommand: ['***'], timeoutMs: 0 }];
  const run = begin({}, { service: { ...serviceConfig({ directory: folder, prestart }), command: ['app'] } });
  assert.equal((await run.outcome).ok, false);
  assert.doesNotMatch(JSON.stringify([await run.outcome, run.events('prestart_failed')]), /hunter2/);
});

test('whoever is in a hurry does not wait for another attempt', async () => {
  const hurry = new AbortController();
  const run = begin({ first: 'exit 1' }, { hurry: hurry.signal, retryDelaysMs: [600_000] });
  await eventually(() => run.events('prestart_failed').length === 1);
  hurry.abort();
  assert.equal((await run.outcome).ok, false);
});

test('a step that takes longer than it may is ended, with what it started', async () => {
  const run = begin({ slow: 'sleep 600 & echo $! > child; wait' }, { retryDelaysMs: [] }, 300);
  assert.deepEqual(await run.outcome, { ok: false, step: 'slow', reason: 'took longer than 300 ms', output: [] });
  const child = Number(readFileSync(path.join(folder, 'child'), 'utf8'));
  await eventually(
    () => !existsSync(`/proc/${child}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${child}/status`, 'utf8')),
  );
});

test('told to stop, the step that runs is ended and no other is begun', async () => {
  const stop = new AbortController();
  const run = begin({ slow: 'echo begun; exec sleep 600', after: 'true' }, { stop: stop.signal });
  await eventually(() => run.events('worker_output').length === 1);
  assert.equal(run.groups.size, 1);
  stop.abort();
  const outcome = await run.outcome;
  assert.equal(outcome.ok ? null : outcome.reason, 'stopped');
  assert.equal(run.steps.length, 1);
  assert.equal(run.groups.size, 0);
});

test('a step that takes long is told of again and again', async () => {
  const file = path.join(folder, 'go');
  const run = begin({ slow: `until test -e ${file}; do sleep 0.05; done` }, { stillRunningMs: 50 });
  await eventually(() => run.events('prestart_running').length >= 2);
  writeFileSync(file, '');
  assert.deepEqual(await run.outcome, { ok: true });
});

test('a lock that was lost before a step is begun ends all', async () => {
  const lost = new Error('lost');
  const run = begin({ first: 'touch ran' }, { beforeStep: () => Promise.reject(lost) });
  await assert.rejects(run.outcome, lost);
  assert.equal(existsSync(path.join(folder, 'ran')), false);
});
