/** How many requests a worker gets at once, and what becomes of those beyond: they wait, in their order, or are sent away. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

/** Answers `/slow` after 300 ms, or as many as its query says, with how many it had at once. */
const WORKER = `const http = require('http'); let now = 0;
  http.createServer((q, s) => {
    if (!q.url.startsWith('/slow')) return s.end('ok ' + process.pid);
    now++;
    setTimeout(() => { s.end(String(now--)); }, Number(q.url.split('?')[1] ?? 300));
  }).listen(process.argv[1])`.replaceAll('\n', ' ');

function config(more: string): string {
  return `proxy_processes: 1
sites: [{ hosts: [localhost], service: web }]
services:
  web:
    command: ${JSON.stringify(['node', '-e', WORKER, '{socket}'])}
    directory: FIXTURES
    ${more}
`;
}

interface Answer {
  readonly code: string;
  readonly body: string;
  readonly retryAfter: string;
}

async function ask(daemon: Daemon, path: string): Promise<Answer> {
  const format = '\n%{http_code} %header{retry-after}';
  const { stdout } = await run('curl', ['-sSk', '--max-time', '20', '-w', format, `${daemon.origin}${path}`]);
  const at = stdout.lastIndexOf('\n');
  const [code = '', retryAfter = ''] = stdout.slice(at + 1).split(' ');
  return { code, retryAfter, body: stdout.slice(0, at) };
}

test('a worker never has more requests at once than it may; the others wait and are answered', async () => {
  await using daemon = await startDaemon({ config: config('workers: 1\n    concurrency: 2') });
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(daemon, '/slow')));
  assert.deepEqual([...new Set(answers.map(({ code }) => code))], ['200']);
  assert.ok(
    answers.every(({ body }) => Number(body) <= 2),
    answers.map(({ body }) => body).join(),
  );
});

test('beyond the queue, and after its time, requests are sent away with 503, the reason and when to come again', async () => {
  await using daemon = await startDaemon({
    config: config('workers: 1\n    concurrency: 1\n    queue: { max: 2, timeout: 3s }'),
  });
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(daemon, '/slow?2000')));
  const codes = answers.map(({ code }) => code).toSorted();
  // One at work, one that waited its turn; another waited in vain, three found no place.
  assert.deepEqual(codes, ['200', '200', '503', '503', '503', '503']);
  const away = answers.filter(({ code }) => code === '503');
  assert.ok(
    away.every(({ body, retryAfter }) => /busy/.test(body) && Number(retryAfter) > 0),
    JSON.stringify(away),
  );
  assert.equal((await ask(daemon, '/slow')).code, '200', 'and then there is room again');
});

test('a worker that has answered enough is replaced, and no request is lost', async () => {
  await using daemon = await startDaemon({ config: config('workers: 1\n    max_requests: 20') });
  const pids = new Set<string>();
  const codes = new Set<string>();
  await eventually(
    async () => {
      const { code, body } = await ask(daemon, '/');
      codes.add(code);
      pids.add(body);
      return pids.size === 2;
    },
    { withinMs: 20_000 },
  );
  assert.deepEqual([...codes], ['200']);
  assert.equal(daemon.events('worker_recycled')[0]?.['reason'], 'max_requests');
});
