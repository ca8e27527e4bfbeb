/** uvicorn and gunicorn of Debian as workers: killed, replaced, and ended with all they started. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon, WorkerView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { faultsOf, sendAccounted } from './support/load.ts';
import { processesWith } from './support/processes.ts';

const COMMANDS = {
  uvicorn: '/usr/bin/python3 -m uvicorn recording_app:app --no-access-log',
  gunicorn: '/usr/bin/python3 -m gunicorn recording_app:app -k uvicorn.workers.UvicornWorker',
};

const config = (command: string, marker: string): string => `logging: { access: false }
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: ${command}
    directory: FIXTURES
    workers: 2
    env: { RECORD: FOLDER/shared/executed, PYTHONDONTWRITEBYTECODE: 1, MARKER: ${marker} }
`;

async function workers(daemon: Daemon): Promise<readonly WorkerView[]> {
  return (await daemon.status()).services[0]?.workers ?? [];
}

const areAllNew = async (daemon: Daemon, before: readonly (number | null)[]): Promise<boolean> =>
  (await workers(daemon)).every(({ pid, state }) => state === 'ready' && !before.includes(pid));

for (const [name, command] of Object.entries(COMMANDS)) {
  test(`${name}: kill -9 of a worker costs no GET, a restart no request, and the end leaves nothing`, async () => {
    const marker = `${name}-${process.pid}`;
    await using daemon = await startDaemon({ config: config(command, marker) });
    const before = (await workers(daemon)).map(({ pid }) => pid);

    const killed = new AbortController();
    const first = sendAccounted(daemon, { methods: ['GET'], connections: 8, signal: killed.signal, path: '/?ms=20' });
    process.kill(before[0] ?? 0, 'SIGKILL');
    await eventually(() => areAllNew(daemon, before.slice(0, 1)));
    killed.abort();
    assert.deepEqual(faultsOf(await first), []);

    const restarted = new AbortController();
    const methods = ['GET', 'POST'];
    const second = sendAccounted(daemon, { methods, connections: 8, signal: restarted.signal, path: '/?ms=20' });
    const { code, stderr } = await daemon.verb('restart', 'web');
    restarted.abort();
    assert.equal(code, 0, stderr);
    assert.ok(await areAllNew(daemon, before));
    const { answers, executions } = await second;
    assert.deepEqual(
      answers.filter(({ status }) => status !== 200),
      [],
    );
    assert.ok(answers.every(({ id }) => executions.get(id) === 1));

    // gunicorn's own worker is one more process in each group.
    assert.equal(processesWith('MARKER', marker).length, name === 'gunicorn' ? 4 : 2);
    daemon.child.kill('SIGTERM');
    assert.equal(await daemon.exited, 0);
    assert.deepEqual(processesWith('MARKER', marker), []);
  });
}
