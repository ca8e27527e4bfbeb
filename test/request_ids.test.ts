/** What a request is called: by us, at its worker, by its client, and in the trace it belongs to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const CONFIG = `
sites:
  - hosts: [localhost]
    routes: [{ path: /, service: web }, { path: /away, redirect: { to: "https://example.com/" } }]
${RECORDING_SERVICE}`;

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

interface Seen {
  /** What the client got. */
  readonly ids: readonly string[];
  /** What the worker got; empty: it got nothing. */
  readonly headers: Readonly<Record<string, string>>;
}

async function ask(daemon: Daemon, path: string, protocol: string, fields: readonly string[] = []): Promise<Seen> {
  const options = ['-sSki', protocol, ...fields.flatMap((field) => ['-H', field])];
  const { stdout } = await run('curl', [...options, `${daemon.origin}${path}`]);
  const [head = '', body = ''] = stdout.split('\r\n\r\n');
  const ids = [...head.matchAll(/^x-request-id: (.*)\r?$/gim)].map(([, id]) => (id ?? '').trim());
  const echoed = body.startsWith('{') ? (JSON.parse(body) as { headers: Record<string, string> }) : { headers: {} };
  return { ids, headers: echoed.headers };
}

async function recordOf(daemon: Daemon, id: string): Promise<Record<string, unknown>> {
  return eventually(() => daemon.events('access').find((record) => record['request_id'] === id));
}

for (const protocol of ['--http1.1', '--http2']) {
  test(`a request has one id everywhere, whatever a stranger calls it, with curl ${protocol}`, async () => {
    await using daemon = await startDaemon({ config: CONFIG });
    const { ids, headers } = await ask(daemon, '/echo', protocol, ['X-Request-Id: mine']);
    assert.deepEqual(ids, [headers['x-request-id']]);
    const [id = ''] = ids;
    assert.match(id, /^[0-9a-f]{20}$/);
    assert.equal((await recordOf(daemon, id))['target'], '/echo');
    const away = await ask(daemon, '/away', protocol);
    assert.equal((await recordOf(daemon, away.ids[0] ?? ''))['status'], 308);
  });

  test(`a trace goes on, or begins, with curl ${protocol}`, async () => {
    await using daemon = await startDaemon({ config: CONFIG });
    const passed = await ask(daemon, '/echo', protocol, [
      `traceparent: ${TRACEPARENT}`,
      'tracestate: a=1',
      'tracestate: b=2',
    ]);
    assert.equal(passed.headers['traceparent'], TRACEPARENT);
    assert.equal(passed.headers['tracestate'], 'a=1,b=2');
    assert.equal((await recordOf(daemon, passed.ids[0] ?? ''))['trace_id'], TRACE);
    for (const fields of [
      [],
      ['traceparent: 00-invalid'],
      [`traceparent: ${TRACEPARENT}`, `traceparent: ${TRACEPARENT}`],
    ]) {
      const begun = await ask(daemon, '/echo', protocol, [...fields, 'tracestate: a=1']);
      const [, trace = ''] = /^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/.exec(begun.headers['traceparent'] ?? '') ?? [];
      assert.notEqual(trace, TRACE);
      assert.equal(begun.headers['tracestate'], undefined);
      assert.equal((await recordOf(daemon, begun.ids[0] ?? ''))['trace_id'], trace);
    }
  });
}

test('a trusted proxy says what a request is called, if it is a name', async () => {
  await using daemon = await startDaemon({ config: `trusted_proxies: [127.0.0.1]\n${CONFIG}` });
  const { ids, headers } = await ask(daemon, '/echo', '--http1.1', ['X-Request-Id: Root=1-67891233.a_b:c+/']);
  assert.deepEqual([ids[0], headers['x-request-id']], ['Root=1-67891233.a_b:c+/', 'Root=1-67891233.a_b:c+/']);
  await recordOf(daemon, 'Root=1-67891233.a_b:c+/');
  for (const name of ['', 'a b', 'a"b', '<b>', 'caf\u00e9', 'x'.repeat(65)]) {
    assert.match((await ask(daemon, '/echo', '--http1.1', [`X-Request-Id: ${name}`])).ids[0] ?? '', /^[0-9a-f]{20}$/);
  }
});

test("clients are told no id when they are not to be, but a worker's own", async () => {
  const naming = `
services:
  web:
    command: [node, -e, 'require("http").createServer((q, s) => s.setHeader("x-request-id", "its own").end()).listen(process.env.PORT)']
    workers: 1
`;
  const config = CONFIG.replace(RECORDING_SERVICE, naming);
  await using daemon = await startDaemon({ config });
  const { ids } = await ask(daemon, '/', '--http1.1');
  assert.match(ids.join(), /^[0-9a-f]{20}$/);
  await using silent = await startDaemon({ config: `request_id_header: false\n${config}` });
  assert.deepEqual((await ask(silent, '/', '--http1.1')).ids, ['its own']);
  assert.deepEqual((await ask(silent, '/away', '--http2')).ids, []);
});
