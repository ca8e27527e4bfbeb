/** Answers of ours: why, to whom it may be told, and in whose words. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { startDaemon, temporaryFolder } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { eventually } from './support/eventually.ts';
import { run } from './support/processes.ts';

const SERVICES = `
services:
  web:
    command: node worker.mjs {socket}
    directory: FIXTURES
    workers: 1
    timeouts: { response: 500ms, liveness: 1h }
  nobody: { upstreams: ["http://127.0.0.1:9"], queue: { max: 0 } }
`;
const CONFIG = `
errors: { pages: { 404: FOLDER/shared/404.json } }
sites:
  - hosts: [localhost]
    errors: { pages: { 5xx: FOLDER/shared/sorry.html } }
    routes: [{ path: /, service: web }, { path: /nobody/, service: nobody }]
  - hosts: [plain.localhost]
    routes: [{ path: /, service: web }, { path: /nobody/, service: nobody }]
${SERVICES}`;

async function ask(daemon: Daemon, host: string, path: string, ...options: readonly string[]): Promise<string> {
  const to = ['--connect-to', `${host}:443:127.0.0.1:${daemon.ports.https}`];
  return (await run('curl', ['-ski', ...to, ...options, `https://${host}${path}`])).stdout;
}

async function start(config: string): Promise<Daemon> {
  const folder = temporaryFolder();
  writeFileSync(`${folder}/shared/404.json`, '{"error":{status},"request":"{request_id}"}');
  writeFileSync(`${folder}/shared/sorry.html`, '<h1>We are sorry \u2013 {status}</h1>\n<p>{request_id}\n');
  return startDaemon({ config, folder });
}

for (const protocol of ['--http1.1', '--http2']) {
  test(`the operator's pages are shown for what is ours, and never in place of a worker's, with curl ${protocol}`, async () => {
    await using daemon = await start(CONFIG);
    const sorry = await ask(daemon, 'localhost', '/drop', protocol, '-X', 'POST');
    const [, id = ''] = /^x-request-id: (\S+)\r$/im.exec(sorry) ?? [];
    assert.match(sorry, /^HTTP\/\S+ 502[\s\S]*^content-type: text\/html; charset=utf-8\r$/im);
    assert.ok(sorry.endsWith(`\r\n\r\n<h1>We are sorry \u2013 502</h1>\n<p>${id}\n`), sorry);
    const unknown = await ask(daemon, 'unknown.localhost', '/', protocol);
    const own = await ask(daemon, 'localhost', '/status?code=503', protocol);
    assert.ok(own.endsWith('\r\n\r\nbody'), own);
    const plain = await ask(daemon, 'plain.localhost', '/drop', protocol, '-X', 'POST');
    assert.match(plain, /^content-type: text\/plain\r$/im);
    // No certificate is for an unknown name: it is asked for by the plain entrypoint.
    assert.equal(unknown, '');
    const { stdout } = await run('curl', [
      '-si',
      '-H',
      'Host: unknown.localhost',
      `http://127.0.0.1:${daemon.ports.http}/`,
    ]);
    assert.match(
      stdout,
      /^HTTP\/1\.1 404[\s\S]*^content-type: application\/json\r$[\s\S]*\{"error":404,"request":"[0-9a-f]{20}"\}$/im,
    );
  });
}

test('whoever asks from this machine is told why, and the log knows for all', async () => {
  await using daemon = await start(`trusted_proxies: [127.0.0.1]\n${CONFIG}`);
  const why = ['-H', 'X-Proxy-Reason: 1'];
  const cases = [
    ['/drop', 502, 'upstream_closed'],
    ['/garbage', 502, 'upstream_invalid'],
    ['/hang', 504, 'upstream_timeout'],
    ['/nobody/', 503, 'no_worker'],
  ] as const;
  for (const [path, status, failure] of cases) {
    const told = await ask(daemon, 'plain.localhost', path, '-X', 'POST', ...why);
    assert.match(told, new RegExp(`^HTTP/\\S+ ${status}[\\s\\S]*^x-proxy-reason: ${failure}\\r$`, 'im'), path);
    const untold = await ask(daemon, 'plain.localhost', path, '-X', 'POST');
    assert.doesNotMatch(untold, /x-proxy-reason/i);
    const stranger = await ask(
      daemon,
      'plain.localhost',
      path,
      '-X',
      'POST',
      ...why,
      '-H',
      'X-Forwarded-For: 192.0.2.1',
    );
    assert.doesNotMatch(stranger, /x-proxy-reason/i);
    const lines = await eventually(() => {
      const found = daemon.events('access').filter((line) => line['target'] === path);
      return found.length === 3 && found;
    });
    assert.deepEqual(
      new Set(lines.map((line) => `${String(line['status'])} ${String(line['failure'])}`)),
      new Set([`${status} ${failure}`]),
    );
  }
  assert.doesNotMatch(await ask(daemon, 'plain.localhost', '/status?code=503', ...why), /x-proxy-reason/i);
});

test('a page is read at a reload, and one that is not there changes nothing', async () => {
  await using daemon = await start(CONFIG);
  writeFileSync(`${daemon.folder}/shared/sorry.html`, 'later');
  assert.equal((await daemon.verb('reload')).code, 0);
  assert.match(await ask(daemon, 'localhost', '/drop', '-X', 'POST'), /\r\n\r\nlater$/);
  writeFileSync(daemon.file, readFileSync(daemon.file, 'utf8').replace('sorry.html', 'nowhere.html'));
  const { code, stderr, stdout } = await daemon.verb('reload');
  assert.equal(code, 2);
  assert.match(stdout + stderr, /proxy\.yaml:\d+:\d+ sites\[0\]\.errors\.pages\.5xx: .*nowhere\.html does not exist/);
  assert.match(await ask(daemon, 'localhost', '/drop', '-X', 'POST'), /\r\n\r\nlater$/);
});
