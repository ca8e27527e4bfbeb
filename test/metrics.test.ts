/** /metrics: what is counted is what happened, whoever died meanwhile, and what is documented is there. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, after as afterAll, test } from 'node:test';
import { freePort, RECORDING_SERVICE, ROOT, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';
import { scrape } from './support/scrape.ts';
import type { Scrape } from './support/scrape.ts';

const config = (port: number): string => `
sites:
  - { hosts: [localhost], service: web }
  - { hosts: [other.localhost, another.localhost], service: web }
proxy_processes: 2
metrics: { address: "127.0.0.1:${port}" }
${RECORDING_SERVICE}`;

let port = 0;
let daemon: Daemon;
before(async () => {
  port = await freePort();
  daemon = await startDaemon({ config: config(port) });
});
afterAll(() => daemon[Symbol.asyncDispose]());

/** So many requests over connections of their own; `more` is for curl. */
async function ask(count: number, url: string, ...more: readonly string[]): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { code, stderr } = await run('curl', ['-sS', '-o', '/dev/null', '--cacert', daemon.ca, ...more, url]);
    assert.equal(code, 0, stderr);
  }
}

/** What proxies tell is at most a second old. */
async function untilTold(check: (told: Scrape) => void): Promise<Scrape> {
  return eventually(
    async () => {
      const told = await scrape(port);
      check(told);
      return told;
    },
    { withinMs: 10_000 },
  );
}

const REQUESTS = 'proxy_http_requests_total';
const RESTARTS = 'proxy_service_worker_restarts_total';

test('counts each request once, under its site, service, status and protocol', async () => {
  await ask(5, `${daemon.origin}/`);
  await ask(2, `${daemon.origin}/`, '--http1.1');
  await ask(3, `${daemon.origin}/status?code=404`);
  await ask(1, `${daemon.origin}/drop-once?of=metrics`);
  await ask(1, `${daemon.origin}/echo`, '--data-binary', 'x'.repeat(1_000));
  await ask(2, `http://localhost:${daemon.ports.http}/`);
  await ask(4, `http://127.0.0.1:${daemon.ports.http}/`, '-H', 'Host: nobody.example');
  await ask(1, `http://127.0.0.1:${daemon.ports.http}/`, '-H', 'Host: nobody-else.example');
  const told = await untilTold((now) => assert.equal(now.sum(REQUESTS), 19));
  const of = (labels: Readonly<Record<string, string>>): number => told.sum(REQUESTS, labels);
  const web = { site: 'localhost', service: 'web' };
  assert.equal(of({ ...web, status: '2xx', protocol: 'HTTP/2' }), 7);
  assert.equal(of({ ...web, status: '2xx', protocol: 'HTTP/1.1' }), 2);
  assert.equal(of({ ...web, status: '4xx' }), 3);
  assert.equal(of({ site: 'localhost', status: '3xx' }), 2);
  // Whatever name is asked for: strangers make no series.
  assert.equal(of({ site: '-', service: '-', status: '4xx' }), 5);
  assert.doesNotMatch(told.text, /nobody(-else)?\.example/);

  const duration = 'proxy_http_request_duration_seconds';
  assert.equal(told.sum(`${duration}_count`, { site: 'localhost' }), 14);
  assert.equal(told.sum(`${duration}_bucket`, { site: 'localhost', le: '+Inf' }), 14);
  assert.equal(told.sum('proxy_http_upstream_first_byte_seconds_count', web), 12);
  assert.equal(told.sum('proxy_http_request_body_bytes_total', web), 1_000);
  assert.ok(told.sum('proxy_http_response_body_bytes_total', web) > 1_000);
  assert.equal(told.sum('proxy_service_retries_total', { service: 'web' }), 1);
  assert.equal(told.sum('proxy_connections_accepted_total', { entrypoint: 'http' }), 7);
  // Of ours, to see what is served, there may be some more.
  assert.ok(told.sum('proxy_tls_handshakes_total', { result: 'done' }) >= 12);
  assert.equal(told.sum('proxy_tls_handshakes_total', { result: 'failed' }), 0);
  assert.equal(told.sum('proxy_http_requests_in_flight'), 0);
});

test('buckets never shrink from one to the next, and the last has all', async () => {
  const { series } = await scrape(port);
  const last = new Map<string, number>();
  for (const [id, value] of series) {
    const own = id.replace(/,?le="[^"]*"/, '');
    if (!/_bucket\{/.test(id)) continue;
    assert.ok(value >= (last.get(own) ?? 0), id);
    last.set(own, value);
  }
  for (const [own, value] of last) assert.equal(series.get(own.replace('_bucket', '_count')), value, own);
  assert.ok(last.size >= 4);
});

test('goes on counting when a proxy is killed, and when a worker is', async () => {
  const { proxies, services } = await daemon.status();
  const before = await scrape(port);
  process.kill(proxies[0]?.pid ?? 0, 'SIGKILL');
  await untilTold((told) => {
    assert.equal(told.sum('proxy_process_restarts_total', { process: 'proxy/0' }), 1);
    assert.equal(told.sum('proxy_process_up'), 2);
  });
  await ask(6, `${daemon.origin}/`);
  process.kill(services[0]?.workers[0]?.pid ?? 0, 'SIGKILL');
  await untilTold((told) => {
    assert.equal(told.sum(RESTARTS, { service: 'web', reason: 'killed' }), 1);
    assert.equal(told.sum('proxy_service_workers', { service: 'web', state: 'ready' }), 2);
  });
  await ask(4, `${daemon.origin}/`);
  const told = await untilTold((now) => assert.equal(now.sum(REQUESTS), before.sum(REQUESTS) + 10));
  assert.equal(told.sum(REQUESTS, { status: '2xx' }), before.sum(REQUESTS, { status: '2xx' }) + 10);
  assert.ok(told.sum('proxy_connections_accepted_total') >= before.sum('proxy_connections_accepted_total') + 10);
  for (const [id, value] of before.series) {
    if (/_(total|count|sum|bucket)\b/.test(id) && !/cpu_seconds/.test(id))
      assert.ok((told.series.get(id) ?? 0) >= value, id);
  }
  assert.equal(told.sum(RESTARTS), 1);
});

test('the end of a certificate is that of the one clients are shown', async () => {
  const shown = await run('openssl', [
    's_client',
    '-connect',
    `127.0.0.1:${daemon.ports.https}`,
    '-servername',
    'another.localhost',
  ]);
  const [pem = ''] = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(shown.stdout) ?? [];
  const notAfter = new X509Certificate(pem).validToDate.getTime() / 1_000;
  const labels = { name: 'other.localhost', source: 'served' };
  const told = await untilTold((now) =>
    assert.equal(now.sum('proxy_certificate_not_after_timestamp_seconds', labels), notAfter),
  );
  assert.equal(told.sum('proxy_certificate_served', { name: 'other.localhost' }), 1);
  assert.equal(told.sum('proxy_certificate_missing'), 0);
});

test('a site that is removed is gone, and reloads are counted by how they ended', async () => {
  await ask(1, `https://other.localhost:${daemon.ports.https}/`);
  await untilTold((now) => assert.equal(now.sum(REQUESTS, { site: 'other.localhost' }), 1));
  const text = readFileSync(daemon.file, 'utf8');
  writeFileSync(daemon.file, `${text}frobnicate: 1\n`);
  assert.equal((await daemon.verb('reload')).code, 2);
  assert.equal((await scrape(port)).sum('proxy_config_last_reload_successful'), 0);
  const before = Date.now() / 1_000;
  writeFileSync(daemon.file, text.replace(/^.*other\.localhost.*\n/m, ''));
  assert.equal((await daemon.verb('reload')).code, 0);
  const told = await scrape(port);
  assert.equal(told.sum('proxy_config_reloads_total', { result: 'refused' }), 1);
  assert.equal(told.sum('proxy_config_reloads_total', { result: 'done' }), 1);
  assert.equal(told.sum('proxy_config_last_reload_successful'), 1);
  assert.ok(told.sum('proxy_config_last_reload_success_timestamp_seconds') >= before);
  assert.doesNotMatch(told.text, /other\.localhost/);
  assert.ok(told.sum(REQUESTS, { site: 'localhost' }) > 0);
});

test('Prometheus and promtool have nothing to say against it', async () => {
  const plain = await scrape(port);
  assert.equal(plain.contentType, 'text/plain; version=0.0.4; charset=utf-8');
  assert.deepEqual(await run('promtool', ['check', 'metrics'], { input: plain.text }), {
    code: 0,
    stdout: '',
    stderr: '',
  });
  const open = await scrape(port, { accept: 'application/openmetrics-text; version=1.0.0; q=0.9, text/plain' });
  assert.equal(open.contentType, 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  assert.match(open.text, /\n# EOF\n$/);
  assert.deepEqual([...open.series.keys()].toSorted(), [...plain.series.keys()].toSorted());
});

test('the page of metrics lists what there is, and alerts and dashboard ask for nothing else', async () => {
  const { families, series } = await scrape(port);
  const page = readFileSync(path.join(ROOT, 'config/metrics.md'), 'utf8');
  const listed = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$/gm)].map(([, name, type, , help]) => [
    name,
    type,
    help,
  ]);
  assert.deepEqual(
    listed,
    [...families].map(([name, { type, help }]) => [name, type, help]),
  );

  const rules = path.join(ROOT, 'config/prometheus/alerts.yaml');
  const checked = await run('promtool', ['check', 'rules', rules]);
  assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  const there = new Set([...series.keys()].map((id) => id.replace(/\{.*/, '')));
  for (const file of [rules, path.join(ROOT, 'config/grafana/dashboard.json')]) {
    const named = new Set(readFileSync(file, 'utf8').match(/\bproxy_\w+/g));
    assert.ok(named.size > 5);
    for (const name of named) assert.ok(there.has(name), `${name} of ${file} is not there`);
  }
});

test('each trouble raises its alert, and one that is well none', async () => {
  const file = path.join(ROOT, 'test/fixtures/alerts_test.yaml');
  const { code, stdout, stderr } = await run('promtool', ['test', 'rules', file]);
  assert.equal(code, 0, stdout + stderr);
});

test('each expression of the dashboard is one Prometheus understands', async () => {
  const text = readFileSync(path.join(ROOT, 'config/grafana/dashboard.json'), 'utf8');
  const filled = text.replaceAll(/\$__(?:rate_interval|range)/g, '5m').replaceAll(/\$(?:instance|site|service)/g, '.*');
  const expressions: string[] = [];
  JSON.parse(filled, (key, value: unknown) => {
    if (key === 'expr') expressions.push(String(value));
    return value;
  });
  assert.ok(expressions.length > 30);
  const rules = expressions.map((expr, i) => ({ record: `panel:${i}`, expr }));
  const file = path.join(daemon.folder, 'panels.yaml');
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
  const { code, stdout, stderr } = await run('promtool', ['check', 'rules', file]);
  assert.equal(code, 0, stdout + stderr);
});
