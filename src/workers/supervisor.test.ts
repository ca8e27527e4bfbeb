import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createGuard } from './guard.ts';
import { lockRuntimeDirectory } from './records.ts';
import { createSupervisor } from './supervisor.ts';
import { serviceConfig } from '../../test/support/values.ts';
import type { Supervisor, WorkerStatus } from './supervisor.ts';
import { createLogger } from '../log.ts';
import { sleep } from '../lifecycle.ts';

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

function supervise(script: string, timeouts: { startMs?: number; stopMs?: number } = {}): Running {
  const lines: string[] = [];
  const released: string[] = [];
  const log = createLogger({ level: 'debug', format: 'json', write: (line) => lines.push(line) });
  const supervisor = createSupervisor({
    service: {
      ...serviceConfig({ directory: folder }),
      command: [process.execPath, '-e', script, '{socket}'],
      healthCheck: { type: 'http', path: '/', intervalMs: 50, timeoutMs: 1_000, rise: 2, fall: 2 },
      timeouts: { ...serviceConfig().timeouts, startMs: 10_000, drainMs: 1_000, stopMs: 2_000, ...timeouts },
    },
    runtimeDirectory: folder,
    identity: null,
    proxyGid: null,
    guard,
    records: lock,
    log,
    onChange: () => {},
    release: (id) => {
      released.push(id);
      return Promise.resolve();
    },
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
  await using running = supervise('setInterval(() => {}, 1000)', { startMs: 300, stopMs: 300 });
  await until(() => running.single().lastExit !== null);
  assert.match(running.single().lastExit ?? '', /not ready after 300 ms: .*ENOENT/);
});

test('releases a worker before it is told to stop, and KILLs one that does not', async () => {
  const running = supervise(SERVER.replace('() => process.exit(0)', '() => {}'), { stopMs: 200 });
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
