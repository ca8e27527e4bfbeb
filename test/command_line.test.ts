/** What the command line says, and the exit codes scripts rely on. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT, temporaryFolder } from './support/daemon.ts';
import { run } from './support/processes.ts';
import type { Finished } from './support/processes.ts';

const MAIN = path.join(ROOT, 'src/main.ts');

function proxy(...args: readonly string[]): Promise<Finished> {
  return run(process.execPath, [MAIN, ...args]);
}

const SERVICES = 'services: { web: { command: node app.mjs } }\n';
const SITES = 'sites: [{ hosts: [localhost], service: web }]\n';

const WRONG: readonly (readonly [mistake: string, text: string, expected: RegExp])[] = [
  [
    'an unknown key',
    `${SITES}services: { web: { command: a, replicas: 2 } }\n`,
    /:2:32 services\.web\.replicas: .*did you mean "workers"/,
  ],
  [
    'a dangling service',
    `sites: [{ hosts: [localhost], service: api }]\n${SERVICES}`,
    /:1:40 sites\[0\]\.service: there is no such service/,
  ],
  [
    'a bad duration',
    `shutdown: { grace_period: soon }\n${SITES}${SERVICES}`,
    /:1:27 shutdown\.grace_period: is not a duration/,
  ],
  ['bad YAML', `${SITES}services: { web: [\n`, /:\d+:\d+ /],
];

for (const verb of ['run', 'validate']) {
  for (const [mistake, text, expected] of WRONG) {
    test(`${verb} names the place of ${mistake} and exits 2`, async () => {
      const folder = temporaryFolder();
      try {
        const file = path.join(folder, 'proxy.yaml');
        writeFileSync(file, text);
        const { code, stderr } = await proxy(verb, '-c', file);
        assert.equal(code, 2, stderr);
        assert.match(stderr, expected);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }

  test(`${verb} names a missing file and exits 2`, async () => {
    const { code, stderr } = await proxy(verb, '-c', '/nonexistent/proxy.yaml');
    assert.equal(code, 2);
    assert.match(stderr, /\/nonexistent\/proxy\.yaml:1:1 the file does not exist/);
  });
}

test('validate says that a valid file is valid', async () => {
  const { code, stdout } = await proxy('validate', '-c', path.join(ROOT, 'config/proxy.yaml'));
  assert.equal(code, 0);
  assert.match(stdout, /is valid/);
});

test('validate names the place of a mistake in an included file', async () => {
  const folder = temporaryFolder();
  try {
    const file = path.join(folder, 'proxy.yaml');
    writeFileSync(file, `include: sites.d/*.yaml\n${SERVICES}`);
    mkdirSync(path.join(folder, 'sites.d'));
    writeFileSync(path.join(folder, 'sites.d/a.yaml'), 'sites: [{ hosts: [localhost], service: wbe }]\n');
    const { code, stderr } = await proxy('validate', '-c', file);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /sites\.d\/a\.yaml:1:40 sites\[0\]\.service: there is no such service/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('validate --effective prints the defaults and no secret', async () => {
  const folder = temporaryFolder();
  try {
    const file = path.join(folder, 'proxy.yaml');
    writeFileSync(file, `${SITES}services: { web: { command: a, env: { HOME_OF: "\${HOME}" } } }\n`);
    const { code, stdout } = await proxy('validate', '--effective', '-c', file);
    assert.equal(code, 0);
    assert.match(stdout, /grace_period: 25s/);
    assert.match(stdout, /HOME_OF: "\*\*\*"/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('schema prints the JSON Schema', async () => {
  const { code, stdout } = await proxy('schema');
  assert.equal(code, 0);
  const { properties } = JSON.parse(stdout) as { properties: Record<string, unknown> };
  assert.ok('sites' in properties && 'services' in properties);
});

test('a verb that is misused says how it is used', async () => {
  for (const args of [['frobnicate'], ['run', '--json'], ['status', 'web'], ['renew', '--frce'], []]) {
    const { code, stderr } = await proxy(...args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, /proxy --help|proxy run/);
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack trace');
  }
});

test('status without a daemon says so', async () => {
  const { code, stderr } = await proxy('status', '--socket', '/nonexistent.sock');
  assert.equal(code, 1);
  assert.match(stderr, /no daemon answers on \/nonexistent\.sock/);
});
