import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { WORKERS } from './backoff.ts';
import { createGuard } from './guard.ts';
import { lockRuntimeDirectory } from './records.ts';
import { createSupervisor } from './supervisor.ts';
import { serviceConfig } from '../../test/support/values.ts';
import type { WorkerStatus } from './slots.ts';
import type { Supervisor, SupervisorOptions } from './supervisor.ts';
import { createLogger } from '../log.ts';
import { sleep } from '../lifecycle.ts';
import type { ServiceConfig } from '../config/config.ts';
import type { TargetStats } from '../snapshot.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-supervisor-'));
const guard = createGuard();
const outcome = lockRuntimeDirectory(folder);
assert.ok(outcome.ok);
const { lock } = outcome;
after(async () => {
  await guard.close();
  rmSync(folder, { recursive: true });
});

/** Answers while the file `sick` does not exist. */
const SERVER = `
  const { createServer } = require('node:http');
  const { existsSync } = require('node:fs');
  process.on('SIGTERM', () => process.exit(0));
  createServer((q, s) => { s.statusCode = existsSync('sick') ? 500 : 200; s.end(); }).listen(process.argv[1]);
`;

interface Running extends AsyncDisposable {
  readonly supervisor: Supervisor;
  readonly lines: string[];
  readonly released: string[];
  single(): WorkerStatus;
}

interface Changes {
  readonly timeouts?: Partial<ServiceConfig['timeouts']>;
  readonly service?: Partial<ServiceConfig>;
  readonly options?: Partial<SupervisorOptions>;
}

function serviceOf(script: string, { timeouts = {}, service = {} }: Changes = {}): SupervisorOptions['service'] {
  return {
    ...serviceConfig({ directory: folder }),
    healthCheck: { type: 'http', path: '/', intervalMs: 50, timeoutMs: 1_000, rise: 2, fall: 2 },
    timeouts: { ...serviceConfig().timeouts, startMs: 10_000, drainMs: 1_000, stopMs: 2_000, ...timeouts },
    ...service,
    command: [process.execPath, '-e', script, '{socket}'],
  };
}

function supervise(script: string, changes: Changes = {}): Running {
  const lines: string[] = [];
  const released: string[] = [];
  const log = createLogger({ level: 'debug', format: 'json', write: (line) => lines.push(line) });
  const supervisor = createSupervisor({
    service: serviceOf(script, changes),
    runtimeDirectory: folder,
    identityOf: () => null,
    proxyGid: null,
    guard,
    records: lock,
    log,
    onChange: () => {},
    release: (id) => {
      released.push(id);
      return Promise.resolve();
    },
    ...changes.options,
  });
  return {
    supervisor,
    lines,
    released,
    single: () => supervisor.snapshot()[0] ?? assert.fail('no worker'),
    [Symbol.asyncDispose]: () => supervisor.stop({ graceMs: 3_000 }),
  };
}

async function until(condition: () => boolean, withinMs = 8_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `not within ${withinMs} ms: ${String(condition)}`);
    await sleep(20);
  }
}

test('a worker is a target once it answers, and no longer when it died', async () => {
  await using running = supervise(SERVER);
  assert.deepEqual(running.supervisor.targets(), []);
  await until(() => running.supervisor.targets().length === 1);
  const { pid, id } = running.single();
  process.kill(pid ?? 0, 'SIGKILL');
  await until(() => running.supervisor.targets().length === 0);
  await until(() => running.single().state === 'backoff');
  assert.equal(running.single().lastExit, 'signal SIGKILL');
  await until(() => running.supervisor.targets().length === 1, 3_000);
  assert.notEqual(running.single().id, id);
});

test('leaves balancing after failed health checks, is not killed for it, and comes back', async () => {
  await using running = supervise(SERVER);
  await until(() => running.supervisor.targets().length === 1);
  const { pid } = running.single();
  const sick = path.join(folder, 'sick');
  writeFileSync(sick, '');
  try {
    await until(() => running.single().state === 'unhealthy');
    assert.deepEqual(running.supervisor.targets(), []);
  } finally {
    rmSync(sick);
  }
  await until(() => running.single().state === 'ready');
  assert.equal(running.single().pid, pid);
});

test('a proxy that could not connect has it looked at without waiting for the next check', async () => {
  await using running = supervise(
    SERVER.replace("SIGTERM', () => process.exit(0)", "SIGUSR2', () => server.close()").replace(
      'createServer((q',
      'const server = createServer((q',
    ),
  );
  await until(() => running.supervisor.targets().length === 1);
  const { pid, id } = running.single();
  process.kill(pid ?? 0, 'SIGUSR2');
  running.supervisor.reportFailure(id);
  await until(() => running.supervisor.targets().length === 0);
});

test('one that never answers is ended with the reason, and tried again', async () => {
  await using running = supervise('setInterval(() => {}, 1000)', { timeouts: { startMs: 300, stopMs: 300 } });
  await until(() => running.single().lastExit !== null);
  assert.match(running.single().lastExit ?? '', /not ready after 300 ms: .*ENOENT/);
});

test('releases a worker before it is told to stop, and KILLs one that does not', async () => {
  const running = supervise(SERVER.replace('() => process.exit(0)', '() => {}'), { timeouts: { stopMs: 200 } });
  await until(() => running.supervisor.targets().length === 1);
  const { id } = running.single();
  await running.supervisor.stop({ graceMs: 3_000 });
  assert.deepEqual(running.released, [id]);
  assert.equal(running.single().state, 'stopped');
  assert.ok(running.lines.some((line) => line.includes('"event":"worker_killed"')));
});

test('stopped in the middle of a start, it leaves nothing behind', async () => {
  const running = supervise(SERVER);
  await running.supervisor.stop({ graceMs: 3_000 });
  const { pid } = running.single();
  assert.ok(pid !== null, 'a process had been started');
  assert.throws(() => process.kill(pid, 0), /ESRCH/);
});

const ids = ({ supervisor }: Running): string[] => supervisor.targets().map(({ id }) => id);

test('a roll replaces each worker by one that is ready first, and never has fewer', async () => {
  await using running = supervise(SERVER, { service: { workers: 2 } });
  await until(() => ids(running).length === 2);
  const before = ids(running);
  let fewest = 2;
  const watching = setInterval(() => (fewest = Math.min(fewest, ids(running).length)), 5);
  const result = await running.supervisor.roll(serviceOf(SERVER, { service: { workers: 2 } }));
  clearInterval(watching);
  assert.deepEqual(result, { ok: true });
  assert.equal(fewest, 2);
  assert.ok(ids(running).every((id) => !before.includes(id)));
  assert.deepEqual(running.released.toSorted(), before.toSorted());
  assert.deepEqual(running.single().restartsByReason, { rolling: 1 });
});

test('a roll onto what does not start leaves the old workers alone, and says what it wrote', async () => {
  await using running = supervise(SERVER, { service: { workers: 2 } });
  await until(() => ids(running).length === 2);
  const before = ids(running);
  const broken = serviceOf('console.error("no module named app"); process.exit(3)');
  const result = await running.supervisor.roll(broken);
  assert.ok(!result.ok);
  assert.deepEqual(result.output, ['no module named app']);
  assert.deepEqual(ids(running), before);
  assert.equal(running.supervisor.state(), 'up');
});

test('a roll that fails on its way goes back to what worked', async () => {
  const mark = path.join(folder, 'begun-once');
  await using running = supervise(SERVER, { service: { workers: 2 } });
  await until(() => ids(running).length === 2);
  const once = `if (require('fs').existsSync('${mark}')) process.exit(1); require('fs').writeFileSync('${mark}', ''); ${SERVER}`;
  assert.equal((await running.supervisor.roll(serviceOf(once))).ok, false);
  assert.equal(ids(running).length, 2);
  const { pid } = running.single();
  process.kill(pid ?? 0, 'SIGKILL');
  await until(() => ids(running).length === 2 && running.single().pid !== pid);
});

test('more workers begin at once, those too many are released before they end', async () => {
  await using running = supervise(SERVER);
  await until(() => ids(running).length === 1);
  await running.supervisor.scale(3);
  await until(() => ids(running).length === 3);
  assert.equal(running.supervisor.state(), 'up');
  await running.supervisor.scale(1);
  assert.equal(ids(running).length, 1);
  assert.equal(running.released.length, 2);
});

test('the first worker goes before the others, and one that fails fails alone', async () => {
  await using running = supervise('process.exit(3)', { service: { workers: 4 } });
  await until(() => running.supervisor.snapshot().some(({ state }) => state === 'backoff'));
  assert.deepEqual(
    running.supervisor.snapshot().map(({ restarts }) => restarts),
    [1, 0, 0, 0],
  );
  assert.deepEqual(
    running.supervisor
      .snapshot()
      .slice(1)
      .map(({ state }) => state),
    ['waiting', 'waiting', 'waiting'],
  );
});

test('one that ends at its start five times is given up, is tried on slowly, and is back by itself once mended', async () => {
  const mended = path.join(folder, 'mended-by-itself');
  const script = `if (!require('fs').existsSync('${mended}')) process.exit(3); ${SERVER}`;
  // As it is, only faster.
  const delaysMs = WORKERS.delaysMs.map((ms) => ms / 50);
  const patience = { ...WORKERS, delaysMs, retryMs: 2_000 };
  await using running = supervise(script, { service: { workers: 2 }, options: { patience } });
  await until(() => running.single().state === 'fatal');
  assert.equal(running.supervisor.state(), 'failed');
  const exits = (): string[] => running.lines.filter((line) => line.includes('"event":"worker_exited"'));
  assert.deepEqual(
    exits().map((line) => line.includes('"given_up":true')),
    [false, false, false, false, true],
  );
  assert.deepEqual(running.single().restartsByReason, { boot: 5 });
  await until(() => exits().length === 6);
  assert.match(exits()[5] ?? '', /"given_up":true/);
  writeFileSync(mended, '');
  await until(() => ids(running).length === 2);
  assert.equal(running.supervisor.state(), 'up');
});

test('one that waits for its next attempt is tried at once when an operator says so', async () => {
  const mended = path.join(folder, 'mended');
  const script = `if (!require('fs').existsSync('${mended}')) process.exit(3); ${SERVER}`;
  await using running = supervise(script);
  await until(() => running.single().restarts === 3);
  writeFileSync(mended, '');
  const begun = Date.now();
  running.supervisor.retryNow();
  await until(() => ids(running).length === 1);
  assert.ok(Date.now() - begun < 3_000, 'the pause was of 4 s');
});

test('stopped in the middle of a roll, it leaves neither the old worker nor the new one', async () => {
  await using running = supervise(SERVER);
  await until(() => ids(running).length === 1);
  const old = running.single().pid ?? 0;
  const roll = running.supervisor.roll(serviceOf(SERVER));
  await until(() => running.lines.filter((line) => line.includes('"event":"worker_ready"')).length === 2);
  await running.supervisor.stop({ graceMs: 3_000 });
  assert.equal((await roll).ok, false);
  const pids = begunPids(running);
  assert.equal(pids.length, 2);
  for (const pid of [old, ...pids]) assert.throws(() => process.kill(pid, 0), /ESRCH/);
});

test('a roll in the middle of a start leaves one worker, not two', async () => {
  await using running = supervise(SERVER);
  assert.deepEqual(await running.supervisor.roll(serviceOf(SERVER)), { ok: true });
  await until(() => ids(running).length === 1);
  await until(() => begunPids(running).filter(isAlive).length === 1);
});

test('one that hangs is told by its traffic, and leaves what it wrote about where it stood', async () => {
  const waits = new Map<string, number>();
  const stats = (id: string): TargetStats => ({
    inFlight: 0,
    streams: 0,
    requests: 0,
    answers: 0,
    oldestUnansweredMs: waits.get(id) ?? 0,
    silentMs: waits.get(id) ?? 0,
  });
  const script = `process.on('SIGABRT', () => { console.error('in handler'); process.exit(134); }); ${SERVER}`;
  // Its checks are answered: they must not tell that it is alive.
  const healthCheck = { ...serviceOf(SERVER).healthCheck, intervalMs: 60_000 };
  const service = { workers: 4, healthCheck };
  await using running = supervise(script, { service, timeouts: { livenessMs: 500 }, options: { stats } });
  await until(() => ids(running).length === 4);
  await sleep(600);
  const [hung = ''] = ids(running);
  waits.set(hung, 500);
  await until(() => running.lines.some((line) => line.includes('"event":"worker_exited"') && line.includes(hung)));
  const told = running.lines.find((line) => line.includes('"event":"worker_exited"')) ?? '';
  assert.match(told, /"reason":"liveness"/);
  assert.match(told, /in handler/);
  await until(() => ids(running).length === 4);
  for (const id of ids(running)) waits.set(id, 500);
  await until(() => running.lines.some((line) => line.includes('workers_do_not_answer')));
  await sleep(600);
  assert.equal(running.lines.filter((line) => line.includes('"event":"worker_exited"')).length, 1, 'none is killed');
});

test('one that has answered enough is replaced by one that is ready first', async () => {
  const requests = new Map<string, number>();
  const stats = (id: string): TargetStats => ({
    inFlight: 0,
    streams: 0,
    requests: requests.get(id) ?? 0,
    answers: 0,
    oldestUnansweredMs: 0,
    silentMs: 0,
  });
  await using running = supervise(SERVER, { service: { maxRequests: 100 }, options: { stats } });
  await until(() => ids(running).length === 1);
  const [first = ''] = ids(running);
  requests.set(first, 110);
  await until(() => ids(running).length === 1 && ids(running)[0] !== first, 12_000);
  assert.deepEqual(running.single().restartsByReason, { max_requests: 1 });
});

test('one that serves nothing is watched all the same, and is no target', async () => {
  const service = { healthCheck: { ...serviceConfig().healthCheck, type: 'process' } } as const;
  await using running = supervise('setInterval(() => {}, 1000)', { service });
  await until(() => running.single().state === 'ready');
  assert.deepEqual(running.supervisor.targets(), []);
  process.kill(running.single().pid ?? 0, 'SIGKILL');
  await until(() => running.single().restarts === 1 && running.single().state === 'ready');
});

const MIB = 1024 ** 2;

/** As if each worker held 100 MiB, of a machine that has room for so many. */
function superviseWithin(forWorkers: () => number, service: Partial<ServiceConfig>): Running {
  let alive = (): number => 0;
  const limit = 1_000 * MIB;
  const running = supervise(SERVER, {
    service,
    options: {
      usage: () => ({ memory: 100 * MIB, cpuSeconds: 0, cpu: null }),
      machineMemory: () => ({ limit, available: limit * 0.1 + (forWorkers() - alive()) * 100 * MIB }),
    },
  });
  alive = () => begunPids(running).filter(isAlive).length;
  return running;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function begunPids({ lines }: Running): number[] {
  return lines.flatMap((line) => /"event":"worker_started".*"pid":(\d+)/.exec(line)?.[1] ?? []).map(Number);
}

test('no more workers are started than memory has room for; the others say what they wait for, and come when there is', async () => {
  let forWorkers = 3.5;
  await using running = superviseWithin(() => forWorkers, { workers: 5 });
  await until(() => ids(running).length === 3);
  await until(() => running.supervisor.snapshot().filter(({ waitsFor }) => waitsFor !== null).length === 2);
  const waiting = running.supervisor.snapshot().filter(({ waitsFor }) => waitsFor !== null);
  assert.ok(waiting.every(({ state, pid }) => state === 'waiting' && pid === null));
  assert.equal(waiting[0]?.waitsFor, '3 × 100 MiB + reserve 100 MiB of 1000 MiB leave 50 MiB, another needs 110 MiB');
  assert.equal(running.supervisor.state(), 'degraded');
  assert.equal(running.lines.filter((line) => line.includes('worker_waits_for_memory')).length, 2, 'told once of each');
  forWorkers = 6;
  await until(() => ids(running).length === 5);
  assert.ok(running.supervisor.snapshot().every(({ waitsFor }) => waitsFor === null));
  assert.equal(running.supervisor.state(), 'up');
});

test('as many as there is room for are all that `auto` wants', async () => {
  await using running = superviseWithin(() => 2.5, { workers: 3, sizing: { type: 'auto' } });
  await until(() => running.supervisor.snapshot().some(({ waitsFor }) => waitsFor !== null));
  await until(() => running.supervisor.state() === 'up');
  assert.equal(ids(running).length, 2);
});

test('without memory for both, the old worker ends before its successor begins, and says so', async () => {
  await using running = superviseWithin(() => 2.5, { workers: 2 });
  await until(() => ids(running).length === 2);
  const before = ids(running);
  let most = 0;
  const watching = setInterval(() => (most = Math.max(most, begunPids(running).filter(isAlive).length)), 5);
  const result = await running.supervisor.roll(serviceOf(SERVER, { service: { workers: 2 } }));
  clearInterval(watching);
  assert.deepEqual(result, { ok: true });
  assert.equal(most, 2, 'never three');
  assert.ok(ids(running).length === 2 && ids(running).every((id) => !before.includes(id)));
  const told = running.lines.find((line) => line.includes('worker_ends_before_its_successor')) ?? '';
  assert.match(told, /2 × 100 MiB \+ reserve 100 MiB of 1000 MiB leave 50 MiB/);
  const broken = await running.supervisor.roll(serviceOf('process.exit(3)'));
  assert.equal(broken.ok, false);
  await until(() => ids(running).length === 2);
});
