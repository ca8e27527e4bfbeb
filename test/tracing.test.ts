/** Spans of requests, as a collector gets them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: number };
}

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
  readonly attributes: readonly Attribute[];
}

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

interface Collector extends AsyncDisposable {
  readonly endpoint: string;
  readonly exports: Exported[];
  spans(): readonly Span[];
}

/** Takes what is sent as OTLP over HTTP says; with `delayMs` it is slow about it. */
async function startCollector(): Promise<Collector> {
  const exports: Exported[] = [];
  const server = http.createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    assert.equal(request.headers['content-type'], 'application/json');
    assert.equal(request.url, '/v1/traces');
    exports.push(JSON.parse(text) as Exported);
    response.setHeader('content-type', 'application/json').end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`,
    exports,
    spans: () =>
      exports.flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
      ),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const attributesOf = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]));

const config = (tracing: string): string => `
tracing: ${tracing}
sites: [{ hosts: [localhost], service: web }]
${RECORDING_SERVICE}    timeouts: { response: 10s }
`;

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

test('each request is a span between its client and its worker', async () => {
  await using collector = await startCollector();
  await using daemon = await startDaemon({
    config: config(`{ endpoint: "${collector.endpoint}", service_name: edge }`),
  });
  const ask = async (path: string, ...options: readonly string[]): Promise<string> =>
    (await run('curl', ['-sk', ...options, `${daemon.origin}${path}`])).stdout;
  const seen = JSON.parse(await ask('/echo?token=secret', '-H', `traceparent: 00-${TRACE}-${PARENT}-01`)) as {
    readonly headers: Readonly<Record<string, string>>;
  };
  await ask('/drop', '-X', 'POST');
  await ask('/unsampled', '-H', `traceparent: 00-${TRACE}-${PARENT}-00`);
  await eventually(() => collector.spans().length === 2);

  const [first, second] = collector.spans().toSorted((a, b) => a.name.localeCompare(b.name));
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual([first.traceId, first.parentSpanId, first.name, first.kind], [TRACE, PARENT, 'GET', 2]);
  assert.equal(seen.headers['traceparent'], `00-${TRACE}-${first.spanId}-01`);
  assert.ok(BigInt(first.endTimeUnixNano) >= BigInt(first.startTimeUnixNano));
  const said = attributesOf(first.attributes);
  assert.deepEqual(
    [
      said['http.response.status_code'],
      said['url.path'],
      said['proxy.site'],
      said['proxy.service'],
      said['proxy.attempts'],
    ],
    [200, '/echo', 'localhost', 'web', 1],
  );
  assert.match(String(said['proxy.worker']), /^web\/[01]\/g\d+$/);
  assert.equal(said['proxy.request_id'], seen.headers['x-request-id']);
  assert.equal(JSON.stringify(collector.exports).includes('secret'), false);

  assert.deepEqual([second.name, second.parentSpanId, second.status.code], ['POST', undefined, 2]);
  assert.equal(attributesOf(second.attributes)['error.type'], 'upstream_closed');
  const [resource] = collector.exports[0]?.resourceSpans ?? [];
  assert.equal(attributesOf(resource?.resource.attributes ?? [])['service.name'], 'edge');
});

test('a trace that is not of the sample goes on unrecorded', async () => {
  await using collector = await startCollector();
  await using daemon = await startDaemon({ config: config(`{ endpoint: "${collector.endpoint}", sample: 0 }`) });
  const { stdout } = await run('curl', ['-sk', `${daemon.origin}/echo`]);
  assert.match(stdout, /"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-00"/);
  await run('curl', ['-sk', '-H', `traceparent: 00-${TRACE}-${PARENT}-01`, `${daemon.origin}/echo`]);
  await eventually(() => collector.spans().length > 0);
  assert.deepEqual(
    collector.spans().map(({ traceId }) => traceId),
    [TRACE],
  );
});

test('without a collector requests are answered as ever, and the lost spans are told', async () => {
  await using daemon = await startDaemon({ config: config('{ endpoint: "http://127.0.0.1:9/v1/traces" }') });
  const { stdout } = await run('h2load', ['-n', '2000', '-c', '8', '--h1', `${daemon.origin}/x`]);
  assert.match(stdout, /2000 succeeded/);
  await eventually(() => daemon.events('spans_lost').length > 0, { withinMs: 30_000 });
});
