/** Workers that hold memory, in a cgroup that has too little for all of them: those that fit run, and nobody is killed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon, ServiceView } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { sendAccounted } from './support/load.ts';
import { createMemoryCgroup } from './support/memory_cgroup.ts';

const MIB = 1024 ** 2;
/** Holds 80 MiB beside what Node does. */
const WORKER = `const held = Buffer.alloc(${80 * MIB}, 1);
  require('http').createServer((q, s) => s.end(String(held[0]))).listen(process.argv[1])`.replaceAll('\n', ' ');

const CONFIG = `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: ${JSON.stringify(['node', '-e', WORKER, '{socket}'])}
    directory: FIXTURES
    workers: 8
`;

async function web(daemon: Daemon): Promise<ServiceView> {
  return (await daemon.status()).services[0] ?? assert.fail('no service');
}

test('workers beyond what memory has room for wait and say so; a restart then ends each before the next; none is killed', async (t) => {
  await using cgroup = createMemoryCgroup(800 * MIB);
  if (cgroup === null) return t.skip('no cgroup with a memory limit can be made here');
  await using daemon = await startDaemon({ config: CONFIG, wrapper: cgroup.wrapper, started: false });
  const settled = await eventually(
    async () => {
      const service = await web(daemon);
      return service.workers.every(({ state, waits_for: sum }) => state === 'ready' || sum !== null) && service;
    },
    { withinMs: 30_000 },
  );
  const ready = settled.workers.filter(({ state }) => state === 'ready');
  const waiting = settled.workers.filter(({ waits_for: sum }) => sum !== null);
  assert.ok(ready.length >= 2 && waiting.length >= 2, `${ready.length} ready, ${waiting.length} wait`);
  assert.equal(settled.state, 'degraded');
  assert.match(waiting[0]?.waits_for ?? '', /^\d+ × \d+ MiB \+ reserve 80 MiB of 800 MiB leave \d+ MiB, another needs/);
  const { stdout } = await daemon.verb('status');
  assert.match(stdout, /reserve 80 MiB of 800 MiB/);

  // Less than another and the reserve need, and enough for what grows a little.
  cgroup.tighten(100 * MIB);
  const over = new AbortController();
  const load = sendAccounted(daemon, { methods: ['GET', 'POST'], connections: 4, signal: over.signal });
  const { code, stderr } = await daemon.verb('restart', 'web');
  over.abort();
  assert.equal(code, 0, stderr);
  const { answers } = await load;
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200),
    [],
  );
  assert.ok(daemon.events('worker_ends_before_its_successor').length >= 1);
  const pids = new Set(ready.map(({ pid }) => pid));
  assert.ok((await web(daemon)).workers.every(({ pid }) => !pids.has(pid) || pid === null));
  assert.equal(cgroup.oomKills(), 0);
});
