/** Why requests were lost: a worker that dies, its last lines, and what became of each request it had. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

/** By the header all go to one worker. */
const CONFIG = `
proxy_processes: 2
logging: { access: { file: FOLDER/shared/access.log } }
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: node worker.mjs {socket}
    directory: FIXTURES
    workers: 2
    env: { RECORD: FOLDER/shared/executed }
    load_balancing: { policy: hash, hash: "header:X-Key" }
`;
const EACH = 10;

interface Lost {
  readonly id: string;
  readonly retried: boolean;
  readonly worker: string;
  readonly status: number;
  readonly failure: string | null;
}

test('of a worker that is killed with 20 requests, each line says what became of it, and one event says why', async () => {
  await using daemon = await startDaemon({ config: CONFIG });
  const file = `${daemon.folder}/shared/access.log`;
  const ask = async (id: string, ...options: readonly string[]): Promise<string> => {
    const { stdout } = await run('curl', ['-ski', '-H', 'X-Key: same', '-H', `X-Id: ${id}`, ...options]);
    return stdout;
  };
  const said = await ask('say', `${daemon.origin}/say?what=its%20last%20words`);
  const [, pid = ''] = /^x-worker: \S+ (\d+)\r?$/im.exec(said) ?? [];
  const { services } = await daemon.status();
  const victim = services[0]?.workers.find((worker) => worker.pid === Number(pid))?.id;
  assert.ok(victim, said);
  const slow = `${daemon.origin}/slow?ms=4000`;
  const answers = Array.from({ length: EACH }, (_, i) => [
    ask(`get-${i}`, slow),
    ask(`post-${i}`, '-X', 'POST', '-d', 'x', slow),
  ]).flat();
  const executed = (): string => readFileSync(`${daemon.folder}/shared/executed`, 'utf8');
  await eventually(() => executed().match(new RegExp(`^(?:get|post)-\\d \\S+ ${pid}$`, 'gm'))?.length === 2 * EACH);
  process.kill(Number(pid), 'SIGKILL');

  const statuses = (await Promise.all(answers)).map((answer) => / (\d{3})/.exec(answer)?.[1]);
  assert.deepEqual(statuses, Array.from({ length: EACH }, () => ['200', '502']).flat());
  const lines = await eventually(() => {
    const found = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.includes('"/slow?ms=4000"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    return found.length === 2 * EACH && found;
  });
  for (const line of lines) {
    const { method, status, attempts, failure, retry_cause, retry_worker, worker, generation } = line;
    if (method === 'GET') {
      assert.deepEqual([status, attempts, failure, retry_cause], [200, 2, undefined, 'upstream_closed']);
      assert.equal(retry_worker, victim);
      assert.notEqual(worker, victim);
    } else {
      assert.deepEqual([status, attempts, failure, retry_cause], [502, 1, 'upstream_closed', undefined]);
      assert.equal(worker, victim);
    }
    assert.equal(`g${String(generation)}`, String(worker).split('/').at(-1));
  }

  const [event] = await eventually(() => daemon.events('requests_lost').length > 0 && daemon.events('requests_lost'));
  assert.ok(event);
  assert.deepEqual([event['service'], event['worker'], event['pid']], ['web', victim, Number(pid)]);
  assert.deepEqual([event['exit'], event['count']], ['signal SIGKILL', 2 * EACH]);
  assert.ok((event['output'] as string[]).includes('its last words'), JSON.stringify(event));
  const requests = event['requests'] as Lost[];
  const wanted = lines.map(({ request_id: id, method, worker, status, failure }) => ({
    id,
    retried: method === 'GET',
    worker,
    status,
    failure: failure ?? null,
  }));
  const byId = (a: { id: unknown }, b: { id: unknown }): number => String(a.id).localeCompare(String(b.id));
  assert.deepEqual(requests.toSorted(byId), wanted.toSorted(byId));
  assert.equal(daemon.events('requests_lost').length, 1);
  const [exit] = daemon.events('worker_exited');
  assert.equal(exit?.['worker'], victim);
});
