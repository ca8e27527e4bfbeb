import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { effectiveYaml } from './effective.ts';
import { loadConfig } from './load.ts';

const REST = 'sites: [{ hosts: [localhost], service: web }]\n';

function effective(t: TestContext, text: string): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-effective-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(path.join(folder, 'secret'), 'from-file\n');
  writeFileSync(path.join(folder, 'more.yaml'), 'services: { job: { command: "b ${SECRET}" } }\n');
  writeFileSync(path.join(folder, 'proxy.yaml'), text);
  const loaded = loadConfig({
    file: path.join(folder, 'proxy.yaml'),
    env: { SECRET: 'hunter2', COUNT: '3', PORT: '8443' },
  });
  assert.ok(loaded.ok, loaded.ok ? '' : JSON.stringify(loaded.problems));
  const commands = new Map(loaded.config.services.map(({ name, shownCommand }) => [name, shownCommand]));
  return effectiveYaml(loaded.config, loaded.document, commands).replaceAll(folder, 'FOLDER');
}

test('fills in every default, those of the machine and of other keys too', (t) => {
  const yaml = effective(t, `include: more.yaml\n${REST}services: { web: { command: a, timeouts: { stop: 3s } } }\n`);
  assert.match(yaml, /^# "FOLDER\/proxy\.yaml"\n# "FOLDER\/more\.yaml"\n/);
  const value = parse(yaml);
  assert.equal(value.include, undefined);
  assert.equal(value.admin.socket, '/run/proxy/admin.sock');
  assert.equal(value.entrypoints.https.tls, true);
  assert.equal(value.entrypoints.http.timeouts.idle, '75s');
  assert.deepEqual([value.entrypoints.http.max_headers, value.entrypoints.http.max_request_line], [100, 8192]);
  assert.deepEqual(value.sites, [
    {
      hosts: ['localhost'],
      tls: 'internal',
      redirect_https: true,
      service: 'web',
      headers: { request: { set: {}, remove: [] }, response: { set: {}, remove: [] } },
      max_body_size: 0,
      errors: { pages: {} },
    },
  ]);
  assert.equal(value.services.web.directory, 'FOLDER');
  assert.deepEqual([value.services.web.timeouts.stop, value.services.web.timeouts.start], ['3s', '60s']);
  assert.deepEqual(value.services.job.command, ['b', '***']);
  assert.ok(value.services.web.workers >= 2);
});

test('what it prints is valid itself', (t) => {
  const yaml = effective(t, `${REST}services: { web: { command: [a, b] } }\n`).replaceAll('FOLDER', os.tmpdir());
  assert.equal(parse(effective(t, yaml)).services.web.command[1], 'b');
});

test('masks what came from variables and files, and what is secret by its name', (t) => {
  const yaml = effective(
    t,
    `runtime_directory: /run/\${SECRET}\nentrypoints: { http: { address: ':80' }, https: { address: ':\${PORT}' } }\n${REST}services:\n  web:\n    command: a --key "\${SECRET}"\n    workers: \${COUNT}\n` +
      '    env:\n      A: x${SECRET}x\n      B: file:secret\n      API_TOKEN: plain-token\n' +
      '      DATABASE_URL: postgres://u:plain-pass@db/x\n      SIGNING_KEY: plain-key\n      LEVEL: $${debug}\n',
  );
  assert.doesNotMatch(yaml, /hunter2|from-file|8443|\bfile:|plain-/);
  const { services, runtime_directory: runtime, admin, entrypoints } = parse(yaml);
  assert.deepEqual([runtime, admin.socket, services.web.workers], ['***', '***', '***']);
  assert.deepEqual(services.web.command, ['a', '--key', '***']);
  assert.equal(entrypoints.http.public_port, 80);
  assert.equal(services.web.env.LEVEL, '${debug}');
});
