/** The admin socket: its page says what is there, and what is not there is refused. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT, startDaemon } from './support/daemon.ts';
import type { Daemon } from './support/daemon.ts';
import { run } from './support/processes.ts';

const PAGE = readFileSync(path.join(ROOT, 'config/admin_api.md'), 'utf8');

/** What the page's table says: `METHOD /path`, and the keys of the input. */
const DOCUMENTED = [...PAGE.matchAll(/^\| `((?:GET|POST) \/v1\/[a-z/]+)` \| ([^|]*)\|/gm)].map(
  ([, request = '', input = '']) => [request, [...input.matchAll(/`(\w+)`/g)].map(([, key]) => key ?? '')] as const,
);

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly message: string;
  readonly details: readonly string[];
}

let daemon: Daemon;
before(async () => {
  daemon = await startDaemon({
    config:
      'proxy_processes: 1\nsites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: "node worker.mjs {socket}", directory: FIXTURES, workers: 1 } }\n',
  });
});
after(async () => daemon[Symbol.asyncDispose]());

async function ask(method: string, target: string, body = ''): Promise<Answer> {
  const socket = path.join(daemon.folder, 'run/admin.sock');
  const data = body === '' ? [] : ['--data-binary', '@-'];
  const args = ['-sS', '-w', '\n%{http_code}', '-X', method, '--unix-socket', socket, ...data];
  const { stdout } = await run('curl', [...args, `http://localhost${target}`], { input: body });
  const end = stdout.lastIndexOf('\n');
  const answer = JSON.parse(stdout.slice(0, end)) as { error?: Omit<Answer, 'status'> };
  const { code, message = '', details = [] } = answer.error ?? {};
  return { status: Number(stdout.slice(end + 1)), code, message, details };
}

/** The same with `input` where its method has it. */
function askWith(request: string, input: Readonly<Record<string, unknown>>): Promise<Answer> {
  const [method = '', target = ''] = request.split(' ');
  if (method === 'POST') return ask(method, target, JSON.stringify(input));
  const query = Object.entries(input).map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`);
  return ask(method, `${target}?${query.join('&')}`);
}

test('the page lists what there is', async () => {
  const { status, code, details } = await ask('GET', '/v1/nothing');
  assert.deepEqual([status, code], [404, 'not_found']);
  assert.deepEqual(DOCUMENTED.map(([request]) => request).toSorted(), details.toSorted());
});

test('each takes what the page says, and refuses any other key before it does anything', async () => {
  for (const [request, keys] of DOCUMENTED) {
    const { status, code, message } = await askWith(request, { service: 'web', frobnicate: 1 });
    assert.deepEqual([status, code], [400, 'unknown_key'], request);
    const known = keys.length === 0 ? 'this takes none' : `this takes ${keys.join(', ')}`;
    const unknown = keys.includes('service') ? '"frobnicate"' : '"service", "frobnicate"';
    assert.equal(message, `there is no ${unknown}; ${known}`, request);
  }
  assert.equal((await daemon.verb('health', '--ready')).code, 0);
});

const WRONG: readonly (readonly [request: string, input: Readonly<Record<string, unknown>>, expected: RegExp])[] = [
  ['POST /v1/services/restart', {}, /no service "undefined"; there are: web/],
  ['POST /v1/services/restart', { service: ['web'] }, /there is no service/],
  ['POST /v1/services/restart', { service: 'w\u001b[2Jeb' }, /there is no service/],
  ['POST /v1/services/scale', { service: 'web', workers: '3' }, /from 1 to 1000, or auto/],
  ['POST /v1/services/scale', { service: 'web', workers: 1e9 }, /from 1 to 1000, or auto/],
  ['POST /v1/services/scale', { service: 'web', workers: 1.5 }, /from 1 to 1000, or auto/],
  ['POST /v1/services/pause', { service: 'web', message: 'a\nb' }, /one line of up to 200 characters/],
  ['POST /v1/services/deploy', { service: 'web', release: '\u001b[31m' }, /up to 128 letters/],
  ['POST /v1/renew', { names: 'localhost' }, /"names" must be a list/],
  ['POST /v1/renew', { force: 'yes' }, /"force" must be true or false/],
  ['POST /v1/renew', { ca: 'staging' }, /"ca" belongs to "dry_run"/],
  ['POST /v1/renew', { dry_run: true, ca: 'http://ca.example' }, /"ca" must be/],
  ['POST /v1/renew', { dry_run: true, timeout_ms: -1 }, /"timeout_ms" must be/],
  ['POST /v1/certs/revoke', { name: 'localhost', with_certificate_key: 1 }, /must be true or false/],
  ['POST /v1/certs/revoke', { name: 'localhost', reason: 'boredom' }, /"reason" must be one of/],
  ['GET /v1/logs', { lines: '1e3' }, /"lines" must be a number/],
  ['GET /v1/logs', { lines: '-1' }, /"lines" must be a number/],
  ['GET /v1/logs', { follow: 'yes' }, /"follow" must be 0 or 1/],
];

test('what has the wrong form is refused with what it should be', async () => {
  for (const [request, input, expected] of WRONG) {
    const { status, message } = await askWith(request, input);
    assert.ok(status === 400 || status === 404, `${request} ${JSON.stringify(input)}: ${status}`);
    assert.match(message, expected, `${request} ${JSON.stringify(input)}`);
  }
  const bodies = [
    ['{', 400, 'bad_json'],
    ['[]', 400, 'bad_json'],
    ['null', 400, 'bad_json'],
    ['{"__proto__":{"service":"web"}}', 400, 'unknown_key'],
    [`{"service":"${'x'.repeat(100_000)}"}`, 413, 'too_large'],
  ] as const;
  for (const [body, expected, expectedCode] of bodies) {
    const { status, code } = await ask('POST', '/v1/services/restart', body);
    assert.deepEqual([status, code], [expected, expectedCode], body.slice(0, 40));
  }
  assert.equal((await ask('DELETE', '/v1/status')).status, 405);
  assert.equal((await daemon.verb('health', '--ready')).code, 0);
});
