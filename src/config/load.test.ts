import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { findAdminSocket, findConfigFile, formatProblem, loadConfig } from './load.ts';
import type { Config } from './config.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-config-'));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(path.join(folder, 'app'));
writeFileSync(path.join(folder, 'secret'), 'hunter2\n');

const REST = 'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: node app.mjs } }\n';
const ENV = { SECRET: 'hunter2', PORT: '8443', COUNT: '3' };

function load(text: string): ReturnType<typeof loadConfig> {
  const file = path.join(folder, 'proxy.yaml');
  writeFileSync(file, text);
  return loadConfig({ file, env: ENV });
}

/** `line:column path: message` of each problem. */
function problems(text: string): string[] {
  const loaded = load(text);
  if (loaded.ok) return [];
  return loaded.problems.map((problem) => formatProblem(problem).replace(/^.*?proxy\.yaml:/, ''));
}

function config(text: string): Config {
  const loaded = load(text);
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.problems.map(formatProblem).join('\n'));
  return loaded.config;
}

const WRONG: readonly (readonly [mistake: string, file: string, expected: readonly string[]])[] = [
  ['an unknown key', `entrypoint: {}\n${REST}`, ['1:1 entrypoint: is not a known key; did you mean "entrypoints"?']],
  [
    "another tool's key",
    'sites: [{ hosts: [localhost], service: web }]\nservices:\n  web:\n    command: a\n    replicas: 3\n',
    ['5:5 services.web.replicas: is not a known key; did you mean "workers"?'],
  ],
  [
    'a key nested in a section',
    `shutdown: { graceperiod: 3s }\n${REST}`,
    ['1:13 shutdown.graceperiod: is not a known key; did you mean "grace_period"?'],
  ],
  [
    'a metrics address others can reach, and no token',
    `metrics:\n  address: ":9180"\n${REST}`,
    [
      '2:12 metrics.address: others can reach it: give a "token", or an address such as 127.0.0.1 that only this machine can',
    ],
  ],
  [
    'a metrics address that is none',
    `metrics: { address: localhost }\n${REST}`,
    ['1:21 metrics.address: is not an address such as "127.0.0.1:9180", "[::1]:9180" or ":9180"'],
  ],
  [
    'the metrics address of an entrypoint',
    `metrics: { address: "127.0.0.1:443" }\n${REST}`,
    ['1:21 metrics.address: is the address of entrypoint https too'],
  ],
  [
    'a token that can be guessed',
    `metrics: { token: "\${SECRET}" }\n${REST}`,
    ['1:19 metrics.token: must be at least 16 visible characters of ASCII'],
  ],
  [
    'a token in a file that is not there',
    `metrics: { token: file:nowhere }\n${REST}`,
    ['1:19 metrics.token: the file it names cannot be read'],
  ],
  [
    'a dangling service',
    'sites: [{ hosts: [localhost], service: wbe }]\nservices: { web: { command: a } }\n',
    ['1:40 sites[0].service: there is no such service; it is "wbe"; did you mean "web"?'],
  ],
  [
    'a bad duration',
    `shutdown:\n  grace_period: 25 seconds\n${REST}`,
    ['2:17 shutdown.grace_period: is not a duration such as 250ms, 10s, 5m or 24h; it is "25 seconds"'],
  ],
  [
    'a bad size',
    'sites: [{ hosts: [localhost], service: web, max_body_size: 10mb }]\nservices: { web: { command: a } }\n',
    ['1:60 sites[0].max_body_size: is not a size such as 64KiB, 10MiB or 1048576; it is "10mb"'],
  ],
  [
    'limits that would refuse every head',
    `entrypoints: { https: { address: ":443", max_headers: 9, max_header_size: 255, max_request_line: 100 } }\n${REST}`,
    [
      '1:55 entrypoints.https.max_headers: must be at least 10; it is "9"',
      '1:75 entrypoints.https.max_header_size: must be at least 256; it is "255"',
      '1:98 entrypoints.https.max_request_line: must be at least 256; it is "100"',
    ],
  ],
  [
    'a request line longer than its head',
    `entrypoints: { https: { address: ":443", max_request_line: 16385 } }\n${REST}`,
    ['1:60 entrypoints.https.max_request_line: must not exceed max_header_size; it is "16385"'],
  ],
  ['a wrong type', `proxy_processes: many\n${REST}`, ['1:18 proxy_processes: must be auto or a number; it is "many"']],
  ['a list for a mapping', `admin: []\n${REST}`, ['1:8 admin: must be a mapping of keys']],
  [
    'a word outside a choice',
    `logging: { level: loud }\n${REST}`,
    ['1:19 logging.level: must be one of debug, info, warn, error; it is "loud"'],
  ],
  [
    'error pages that are for no error, or are not there',
    `errors:\n  pages:\n    200: a.html\n    5xx: nowhere.html\n    404: .\n${REST}`,
    [
      '3:5 errors.pages.200: is not a status such as 503, 4xx or 5xx',
      '4:10 errors.pages.5xx: nowhere.html does not exist',
      '5:10 errors.pages.404: . is not a file',
    ],
  ],
  [
    'a collector that is no URL, and a sample of more than all',
    `tracing: { endpoint: "localhost:4318", sample: 2 }\n${REST}`,
    [
      '1:22 tracing.endpoint: is not an http or https URL; it is "localhost:4318"',
      '1:48 tracing.sample: must be at most 1; it is "2"',
    ],
  ],
  [
    'an access log of a format nobody knows, and a sample of nothing',
    `logging: { access: { format: clf, sample: 0 } }\n${REST}`,
    [
      '1:30 logging.access.format: must be one of auto, json, combined; it is "clf"',
      '1:43 logging.access.sample: must be more than 0; it is "0"',
    ],
  ],
  [
    'two hosts alike',
    'sites:\n  - { hosts: [a.localhost], service: web }\n  - { hosts: [A.localhost], service: web }\nservices: { web: { command: a } }\n',
    [`3:15 sites[1].hosts[0]: is named in ${path.join(folder, 'proxy.yaml')}:2:15 too; it is "A.localhost"`],
  ],
  [
    'no agreement to the terms',
    'acme: { email: a@b.example }\nsites: [{ hosts: [a.example], service: web }]\nservices: { web: { command: a } }\n',
    ["1:7 acme: the CA's terms of service must be agreed to; add the line: agree_tos: true"],
  ],
  [
    'no account at a CA',
    'sites: [{ hosts: [a.example], service: web }]\nservices: { web: { command: a } }\n',
    [
      '1:1 acme: a.example needs a certificate from a CA; add the line: acme: { email: you@example.com, agree_tos: true }',
    ],
  ],
  [
    'a wildcard without dns-01',
    'acme: { agree_tos: true }\nsites: [{ hosts: ["*.a.example"], service: web }]\nservices: { web: { command: a } }\n',
    ['2:19 sites[0].hosts[0]: a wildcard needs dns-01: add it to acme.challenges, with acme.dns'],
  ],
  [
    'a command for a shell',
    'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: "a | b" } }\n',
    [
      '2:29 services.web.command: has "|", which only a shell understands; write a list such as [sh, -c, "…"]; it is "a | b"',
    ],
  ],
  [
    'an unknown placeholder',
    'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: "a {sock}" } }\n',
    [
      '2:29 services.web.command: has the unknown placeholder {sock}; known are {port}, {socket}, {fd}, {host}, {slot} and {gen}',
    ],
  ],
  [
    'a service that is nothing',
    'sites: [{ hosts: [localhost], service: web }]\nservices: { web: {} }\n',
    ['2:13 services.web: has neither "command" nor "upstreams"'],
  ],
  [
    'an upstream with a path',
    'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { upstreams: ["http://a:1/x"] } }\n',
    ['2:32 services.web.upstreams[0]: must be http://host:port (or https, h2c, h2), without a path'],
  ],
  [
    'a missing directory',
    'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: a, directory: ./nowhere } }\n',
    [`2:43 services.web.directory: there is no directory ${path.join(folder, 'nowhere')}`],
  ],
  [
    'a site that leads nowhere',
    'sites:\n  - hosts: [localhost]\n',
    ['2:5 sites[0]: has neither "service" nor "routes"'],
  ],
  [
    'a route that is both',
    'sites: [{ hosts: [localhost], routes: [{ path: /, service: web, redirect: { to: "http://a/" } }] }]\nservices: { web: { command: a } }\n',
    ['1:40 sites[0].routes[0]: needs exactly one of "service" and "redirect"'],
  ],
  [
    'names no CA issues for together, or at all',
    'acme: { agree_tos: true, challenges: [dns-persist-01] }\nsites: [{ hosts: ["*.a.example", b.a.example, a_b.example, 8.8.8.8], tls: acme, service: web }]\nservices: { web: { command: a } }\n',
    [
      '2:34 sites[0].hosts[1]: is covered by *.a.example, and CAs refuse both in one certificate: leave it out here',
      '2:47 sites[0].hosts[2]: no public CA issues for a name with an underscore',
      '2:60 sites[0].hosts[3]: control over an address is shown by http-01 or tls-alpn-01: add one to acme.challenges',
    ],
  ],
  [
    'dns-01 without a way to make records',
    'acme: { agree_tos: true, challenges: [dns-01] }\nsites: [{ hosts: [a.example], service: web }]\nservices: { web: { command: a } }\n',
    ['1:38 acme.challenges: dns-01 needs acme.dns: exec or rfc2136'],
  ],
  [
    'a dynamic update half said',
    'acme:\n  agree_tos: true\n  challenges: [dns-01]\n  dns: { rfc2136: { server: "a b", key_name: k } }\n  resolvers: [dns.example]\n  issuers: [{ eab: { kid: k, hmac_key: "a b" } }]\nsites: [{ hosts: [a.example], service: web }]\nservices: { web: { command: a } }\n',
    [
      '4:19 acme.dns.rfc2136: "key_name" and "key_secret" go together',
      '4:29 acme.dns.rfc2136.server: must be a name or an address, with or without :port',
      '5:15 acme.resolvers[0]: must be an IP address',
      '6:40 acme.issuers[0].eab.hmac_key: is not base64url',
    ],
  ],
  [
    'limits, checks and files that do not fit each other',
    'sites: [{ hosts: [localhost], service: web }]\nservices:\n  web:\n    command: a\n    memory: { soft: 2GiB, hard: 1GiB }\n  api: { upstreams: ["http://a:1"], health_check: process, env_file: none }\n  many: { command: a, workers: { min: 4, max: 2, down_after: 9s } }\n',
    [
      '5:21 services.web.memory.soft: is more than "hard"',
      '6:51 services.api.health_check: is for workers that a "command" starts',
      '6:70 services.api.env_file: cannot be read',
      '7:47 services.many.workers.max: is less than "min"',
      '7:62 services.many.workers.down_after: must be at least 10s',
    ],
  ],
  [
    'rights and limits that cannot be',
    'sites: [{ hosts: [localhost], service: web }]\nservices:\n  web:\n    command: a\n    umask: "888"\n    nice: 20\n    cpu_affinity: "0-"\n    rlimits: { nofile: -1, files: 1 }\n    groups: audio\n',
    [
      '5:12 services.web.umask: is not three octal digits such as "027"; it is "888"',
      '6:11 services.web.nice: must be at most 19; it is "20"',
      '7:19 services.web.cpu_affinity: is not a list of CPUs such as "0-3,6"; it is "0-"',
      '8:24 services.web.rlimits.nofile: must be at least 0; it is "-1"',
      '8:28 services.web.rlimits.files: is not a known key; known here: as, core, cpu, data, fsize, memlock, nofile, nproc, stack',
      '9:13 services.web.groups: must be a list; it is "audio"',
    ],
  ],
  [
    'a CA that cannot ask',
    'entrypoints: { https: { address: ":443" } }\nacme: { agree_tos: true, challenges: [http-01] }\nsites: [{ hosts: [a.example], service: web }]\nservices: { web: { command: a } }\n',
    ['1:14 entrypoints: none fits acme.challenges: http-01 needs one without TLS, tls-alpn-01 one with'],
  ],
  [
    'headers that cannot be written',
    'sites:\n  - hosts: [localhost]\n    service: web\n    headers:\n      request: { set: { "X Y": a, X-A: "a\\nb" }, remove: [Host] }\n      response: { set: { Content-Length: "5" } }\nservices: { web: { command: a } }\n',
    [
      '5:32 sites[0].headers.request.set.X Y: is not a header name',
      '5:40 sites[0].headers.request.set.X-A: is not a header value: printable ASCII, no blanks at its ends',
      '5:59 sites[0].headers.request.remove[0]: every request has a Host; set another instead',
      '6:42 sites[0].headers.response.set.Content-Length: is written by the proxy itself and cannot be changed',
    ],
  ],
  [
    'a redirect whose host a client could name',
    'sites: [{ hosts: [localhost], routes: [{ path: /, redirect: { to: "https://a.example.{rest}" } }] }]\n',
    [
      '1:67 sites[0].routes[0].redirect.to: must be an http:// or https:// address; after the host it may have {uri} or {rest}',
    ],
  ],
  [
    'an upgrade that no route may have, or that is none',
    'sites:\n  - hosts: [localhost]\n    routes:\n      - { path: /, service: web, upgrade: [websocket, h2c, HTTP/2.0, "a b"] }\nservices: { web: { command: a } }\n',
    [
      '4:55 sites[0].routes[0].upgrade[1]: is never forwarded: requests inside it would pass the proxy unseen',
      '4:60 sites[0].routes[0].upgrade[2]: is never forwarded: requests inside it would pass the proxy unseen',
      `4:70 sites[0].routes[0].upgrade[3]: is not a protocol's name such as websocket, or NAME/VERSION`,
    ],
  ],
  [
    'an upgrade that is neither yes, no nor a list',
    'sites: [{ hosts: [localhost], routes: [{ path: /, service: web, upgrade: maybe }] }]\nservices: { web: { command: a } }\n',
    ['1:74 sites[0].routes[0].upgrade: must be true or false or a list; it is "maybe"'],
  ],
  [
    'a trusted proxy that is none',
    'trusted_proxies: [10.0.0.0/40]\nsites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: a } }\n',
    ['1:19 trusted_proxies[0]: is not an address, a network such as 10.0.0.0/8, or private_ranges'],
  ],
  [
    'a PROXY header that anybody could send',
    'entrypoints: { https: { address: ":443", proxy_protocol: true } }\nsites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: a } }\n',
    ['1:58 entrypoints.https.proxy_protocol: needs trusted_proxies: a header that anybody could send says nothing'],
  ],
  [
    'steps before the start that do not fit',
    'sites: [{ hosts: [localhost], service: web }]\nservices:\n  web:\n    command: a\n    release: "a\\nb"\n    prestart:\n      - { name: a, command: b }\n      - { name: a, command: "b {port}" }\n      - { name: "<b>", command: b }\n  api: { upstreams: ["http://a:1"], prestart: [{ command: b }], release: 1 }\n',
    [
      '5:14 services.web.release: must be up to 128 letters, digits, blanks and ._:+/@-',
      '8:17 services.web.prestart[1].name: is the name of another step too',
      '8:29 services.web.prestart[1].command: has {port}, which only workers have',
      '9:17 services.web.prestart[2].name: must be up to 64 letters, digits, blanks and ._-',
      '10:37 services.api.prestart: is for workers that a "command" starts',
      '10:65 services.api.release: is for workers that a "command" starts',
    ],
  ],
  [
    'a hash by nothing',
    'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: a, load_balancing: { policy: hash } } }\n',
    ['2:58 services.web.load_balancing.policy: needs "hash" beside it: client, header:NAME or cookie:NAME'],
  ],
  ['no site', 'services: { web: { command: a } }\n', ['1:1 sites: there is no site: nothing would be served']],
  [
    'an unknown variable',
    `user: "\${NOBODY}"\n${REST}`,
    ['1:7 user: the environment has no variable NOBODY', '1:7 user: must not be empty; it is "${NOBODY}"'],
  ],
  [
    'an address that is none',
    `entrypoints: { https: { address: "443" } }\n${REST}`,
    ['1:34 entrypoints.https.address: is not an address such as ":443", "127.0.0.1:8443" or "[::1]:443"'],
  ],
];

for (const [mistake, file, expected] of WRONG) {
  test(`names the place of ${mistake}`, () => assert.deepEqual(problems(file), expected));
}

test('names the place of a syntax error', () => {
  assert.match(problems('sites:\n  - hosts: [a\nservices: {}\n')[0] ?? '', /^3:1 .+/);
  assert.match(problems('user: a\nuser: b\n')[0] ?? '', /^2:1 .*unique/);
  assert.match(problems('user: !!js/function a\n')[0] ?? '', /^1:\d+ .*tag/i);
});

test('tells everything at once, in the order of the file', () => {
  const lines = problems(
    'usr: a\nshutdown: { grace_period: x }\nsites:\n  - { hosts: [localhost], service: nope }\n  - { hosts: ["a b"], service: web }\nservices:\n  web: { comand: a, workers: 0 }\n',
  ).map((line) => line.split(':')[0]);
  assert.deepEqual(lines, ['1', '2', '4', '5', '7', '7']);
});

test('finds the admin socket in a file that is broken elsewhere', () => {
  const file = path.join(folder, 'proxy.yaml');
  const socketIn = (text: string): string => {
    writeFileSync(file, text);
    return findAdminSocket({ file, env: ENV });
  };
  for (const rest of [REST, '', 'sites: {}\nfrobnicate: 1\n', 'sites: [\n', 'services: { web: "${MISSING}" }\n']) {
    assert.equal(socketIn(`runtime_directory: run\n${rest}`), path.join(folder, 'run/admin.sock'), rest);
    assert.equal(socketIn(`admin: { socket: /a.sock }\n${rest}`), '/a.sock', rest);
  }
  assert.equal(socketIn(REST), '/run/proxy/admin.sock');
  assert.equal(socketIn('admin: 7\nruntime_directory: [x]\n'), '/run/proxy/admin.sock');
  assert.equal(findAdminSocket({ file: path.join(folder, 'nowhere.yaml'), env: ENV }), '/run/proxy/admin.sock');
});

test('names a file that is missing', () => {
  const loaded = loadConfig({ file: path.join(folder, 'missing.yaml'), env: {} });
  assert.ok(!loaded.ok);
  assert.match(formatProblem(loaded.problems[0] ?? assert.fail()), /missing\.yaml:1:1 the file does not exist/);
  const found = findConfigFile({ option: undefined, env: {}, cwd: folder + '/app' });
  if (!found.ok) assert.match(found.problem.message, /looked for proxy\.yaml, config\/proxy\.yaml/);
});

test('finds the file named first, then the usual places', () => {
  const { found } = { found: findConfigFile({ option: 'x.yaml', env: { PROXY_CONFIG: 'y.yaml' }, cwd: folder }) };
  assert.deepEqual(found, { ok: true, file: path.join(folder, 'x.yaml') });
  assert.deepEqual(findConfigFile({ option: undefined, env: { PROXY_CONFIG: 'y.yaml' }, cwd: folder }), {
    ok: true,
    file: path.join(folder, 'y.yaml'),
  });
});

test('never prints what a variable holds', () => {
  const text = problems(
    'sites: [{ hosts: [localhost], service: "${SECRET}" }]\nservices: { web: { command: a, workers: "x${SECRET}" } }\nuser: [ "${SECRET}" ]\n',
  ).join('\n');
  assert.notEqual(text, '');
  assert.doesNotMatch(text, /hunter2/);
});

test('fills in every default', () => {
  const { entrypoints, sites, services, proxyProcesses, stateDirectory, admin } = config(REST);
  assert.deepEqual(
    entrypoints.map(({ name, port, tls, publicPort, maxConnections }) => [name, port, tls, publicPort, maxConnections]),
    [
      ['http', 80, false, 80, 10_000],
      ['https', 443, true, 443, 10_000],
    ],
  );
  assert.deepEqual(sites[0]?.routes, [{ path: '/', service: 'web', stripPrefix: false, upgrades: ['websocket'] }]);
  assert.deepEqual(sites[0]?.tls, { mode: 'internal' });
  assert.deepEqual(services[0]?.command, ['node', 'app.mjs']);
  assert.equal(services[0]?.timeouts.idleMs, 1_500);
  assert.ok(proxyProcesses >= 2);
  assert.equal(stateDirectory, '/var/lib/proxy');
  assert.equal(admin.socket, '/run/proxy/admin.sock');
});

test('takes variables from files, those of `env` before them, and says which line is none', () => {
  writeFileSync(path.join(folder, 'app.env'), '# ours\nA=1\nexport B="two words"\n\nC=x=y\n');
  writeFileSync(path.join(folder, 'bad.env'), 'A=1\nhunter2\n');
  const text = (file: string): string =>
    `sites: [{ hosts: [localhost], service: web }]\nservices: { web: { command: a, env_file: ${file}, env: { C: z } } }\n`;
  assert.deepEqual(config(text('app.env')).services[0]?.env, { A: '1', B: 'two words', C: 'z' });
  const told = problems(text('[app.env, bad.env]'));
  assert.equal(told.length, 1);
  assert.match(told[0] ?? '', /env_file\[1\]: line 2 is not NAME=VALUE/);
  assert.doesNotMatch(told[0] ?? '', /hunter2/);
});

test("a request line's length is limited by that of its head", () => {
  const limits = (keys: string): readonly unknown[] =>
    config(`entrypoints: { https: { address: ":443"${keys} } }\n${REST}`).entrypoints.map((entrypoint) => [
      entrypoint.maxHeaders,
      entrypoint.maxRequestLine,
    ]);
  assert.deepEqual(limits(''), [[100, 8192]]);
  assert.deepEqual(limits(', max_header_size: 4KiB'), [[100, 4096]]);
  assert.deepEqual(limits(', max_headers: 200, max_request_line: 16KiB'), [[200, 16_384]]);
});

test('takes values from the environment and from files', () => {
  const { entrypoints, services } = config(
    'entrypoints: { https: { address: ":${PORT}" } }\nsites: [{ hosts: [localhost], service: web }]\n' +
      'services:\n  web:\n    command: a\n    workers: ${COUNT}\n    env: { A: "${SECRET}", B: "file:secret", C: "$${SECRET}", D: 5 }\n',
  );
  assert.equal(entrypoints[0]?.port, 8443);
  assert.equal(services[0]?.workers, 3);
  assert.deepEqual(services[0]?.env, { A: 'hunter2', B: 'hunter2', C: '${SECRET}', D: '5' });
});

test('asks no CA for local names, and a CA for others', () => {
  const text =
    'acme: { agree_tos: true }\nsites:\n  - { hosts: [app, a.internal, 10.0.0.1, "[::1]"], service: web }\n' +
    '  - { hosts: [münchen.example], service: web }\n  - { hosts: ["*"], tls: off, service: web }\nservices: { web: { upstreams: ["http://a:1"] } }\n';
  const { sites } = config(text);
  assert.deepEqual(
    sites.map(({ hosts, tls }) => [hosts.join(' '), tls.mode]),
    [
      ['app a.internal 10.0.0.1 ::1', 'internal'],
      ['xn--mnchen-3ya.example', 'acme'],
      ['*', 'off'],
    ],
  );
});

test('routes change to WebSockets unless they say otherwise', () => {
  const routes = ['', ', upgrade: true', ', upgrade: false', ', upgrade: [SPDY/3.1, websocket]'].map(
    (upgrade, i) => `      - { path: "/${4 - i}${'x'.repeat(4 - i)}", service: web${upgrade} }\n`,
  );
  const { sites } = config(
    `sites:\n  - hosts: [localhost]\n    routes:\n${routes.join('')}services: { web: { command: a } }\n`,
  );
  assert.deepEqual(
    sites[0]?.routes.map((route) => 'upgrades' in route && route.upgrades),
    [['websocket'], ['websocket'], [], ['SPDY/3.1', 'websocket']],
  );
});

test('puts the longest prefix first and freezes the whole', () => {
  const loaded = config(
    'sites:\n  - hosts: [localhost]\n    routes:\n      - { path: /, service: web }\n      - { path: /api/, service: web, strip_prefix: true }\nservices: { web: { command: a } }\n',
  );
  assert.deepEqual(
    loaded.sites[0]?.routes.map((route) => route.path),
    ['/api/', '/'],
  );
  assert.ok(Object.isFrozen(loaded.sites[0]?.routes[0]));
});

test('the example of this repository is valid', () => {
  const file = path.join(import.meta.dirname, '../../config/proxy.yaml');
  const loaded = loadConfig({ file, env: {} });
  assert.ok(loaded.ok, loaded.ok ? '' : loaded.problems.map(formatProblem).join('\n'));
  assert.deepEqual(loaded.warnings, []);
});

test('a service has a number of workers, as many as there are CPUs, or a range', () => {
  const services = `services:
  one: { command: a, workers: 3 }
  auto: { command: a }
  range: { command: a, workers: { min: 2, max: 9, down_after: 1m } }
  half: { command: a, workers: { min: 500 } }
  open: { command: a, workers: {} }
`;
  const loaded = load(`sites: [{ hosts: [localhost], service: one }]\n${services}`);
  assert.ok(loaded.ok);
  const sizes = Object.fromEntries(
    loaded.config.services.map(({ name, workers, sizing }) => [name, { workers, sizing }]),
  );
  const cpus = Math.max(2, os.availableParallelism());
  assert.deepEqual(sizes, {
    one: { workers: 3, sizing: { type: 'fixed' } },
    auto: { workers: cpus, sizing: { type: 'auto' } },
    range: { workers: 2, sizing: { type: 'load', min: 2, max: 9, downAfterMs: 60_000 } },
    half: { workers: 500, sizing: { type: 'load', min: 500, max: 500, downAfterMs: 300_000 } },
    open: { workers: 1, sizing: { type: 'load', min: 1, max: cpus, downAfterMs: 300_000 } },
  });
});
