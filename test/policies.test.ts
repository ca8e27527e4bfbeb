/** What sites may ask to be done with requests and answers, seen by curl. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RECORDING_SERVICE, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { run } from './support/processes.ts';

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    config: `sites:
  - hosts: [app.localhost]
    headers:
      request: { set: { X-Env: prod, Host: inner.example }, remove: [Accept] }
      response: { set: { X-Frame-Options: DENY }, remove: [X-Worker] }
    hsts: { max_age: 365d, include_subdomains: true }
    routes:
      - { path: /api/, service: web, strip_prefix: true }
      - { path: /old, redirect: { to: "https://new.example/{rest}", status: 301 } }
      - { path: /echo, service: web }
  - hosts: [www.app.localhost]
    routes: [{ path: /, redirect: { to: "https://app.localhost{uri}" } }]
${RECORDING_SERVICE}`,
  });
});
after(() => daemon[Symbol.asyncDispose]());

interface Seen {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function ask(host: string, target: string, { plain = false, args = [] as readonly string[] } = {}) {
  const port = plain ? daemon.ports.http : daemon.ports.https;
  const url = `${plain ? 'http' : 'https'}://${host}:${port}${target}`;
  const { stdout } = await run('curl', [
    '-sSki',
    '--resolve',
    `${host}:${port}:127.0.0.1`,
    '--path-as-is',
    ...args,
    url,
  ]);
  const [head = '', body = ''] = stdout.split('\r\n\r\n', 2);
  const seen = (): Seen => JSON.parse(body) as Seen;
  return { head, body, seen };
}

test('headers are set and removed, on the way there and back', async () => {
  const { head, seen } = await ask('app.localhost', '/echo', { args: ['-H', 'x-env: forged'] });
  const { headers } = seen();
  assert.equal(headers['x-env'], 'prod');
  assert.equal(headers['host'], 'inner.example');
  assert.equal(headers['accept'], undefined);
  assert.equal(headers['x-forwarded-host'], `app.localhost:${daemon.ports.https}`);
  assert.match(head, /^x-frame-options: DENY$/im);
  assert.doesNotMatch(head, /^x-worker:/im);
});

test('strip_prefix hands on the rest of the path and says what was taken off', async () => {
  const { seen } = await ask('app.localhost', '/api/echo?a=1', { args: ['-H', 'X-Forwarded-Prefix: /forged'] });
  assert.equal(seen().url, '/echo?a=1');
  assert.equal(seen().headers['x-forwarded-prefix'], '/api');
});

test('hsts is said with every answer over https, our own too, and never over http', async () => {
  const line = /^strict-transport-security: max-age=31536000; includeSubDomains$/im;
  assert.match((await ask('app.localhost', '/echo')).head, line);
  assert.match((await ask('app.localhost', '/nothing')).head, line);
  assert.match((await ask('app.localhost', '/old/x')).head, line);
  assert.doesNotMatch((await ask('app.localhost', '/echo', { plain: true })).head, /strict-transport/i);
});

test('redirects keep what they are told to keep', async () => {
  const location = async (host: string, target: string): Promise<string | undefined> =>
    /^HTTP\/\S+ (30\d)[^]*^location: (\S+)/im
      .exec((await ask(host, target)).head)
      ?.slice(1, 3)
      .join(' ');
  assert.equal(await location('app.localhost', '/old/a?b=c'), '301 https://new.example/a?b=c');
  assert.equal(await location('www.app.localhost', '/x/../y?z'), '308 https://app.localhost/y?z');
});

test('a host that the certificate is not for is refused as misdirected (RFC 9110 section 7.4)', async () => {
  const { head } = await ask('app.localhost', '/echo', { args: ['-H', 'Host: www.app.localhost'] });
  assert.match(head, /^HTTP\/\S+ 421/);
});
