import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { readDocument } from './document.ts';
import { readIncluded } from './include.ts';
import { loadConfig } from './load.ts';
import type { Config } from './config.ts';

type Files = Readonly<Record<string, string>>;

const SITE = 'sites: [{ hosts: [localhost], service: web }]\n';
const WEB = 'services: { web: { command: a } }\n';

function folderWith(t: TestContext, files: Files): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-include-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return folder;
}

/** `file:line:column path: message`, the files relative to the folder. */
function problemsIn(folder: string): string[] {
  const loaded = loadConfig({ file: path.join(folder, 'proxy.yaml'), env: { SECRET: 'hunter2' } });
  if (loaded.ok) return [];
  return loaded.problems.map(({ file, line, column, path: where, message }) =>
    `${file}:${line}:${column} ${where}: ${message}`.replaceAll(`${folder}/`, ''),
  );
}

function configIn(folder: string): Config {
  const loaded = loadConfig({ file: path.join(folder, 'proxy.yaml'), env: {} });
  assert.ok(loaded.ok, loaded.ok ? '' : JSON.stringify(loaded.problems));
  return loaded.config;
}

const WRONG: readonly (readonly [mistake: string, files: Files, expected: readonly string[]])[] = [
  [
    'a plain name that is missing',
    { 'proxy.yaml': `${SITE}${WEB}include:\n  - a*.yaml\n  - more.yaml\n` },
    ['proxy.yaml:5:5 include[1]: more.yaml does not exist'],
  ],
  [
    'a folder that is included',
    { 'proxy.yaml': `include: d\n${SITE}${WEB}`, 'd/a.yaml': '' },
    ['proxy.yaml:1:10 include: d is not a file'],
  ],
  [
    'a pattern for folders at any depth',
    { 'proxy.yaml': `include: "**/*.yaml"\n${SITE}${WEB}` },
    ['proxy.yaml:1:10 include: "**" is not supported: write one "*" for each folder'],
  ],
  [
    'an include that is no text',
    { 'proxy.yaml': `include: [5]\n${SITE}${WEB}` },
    ['proxy.yaml:1:11 include[0]: must be text; it is "5"'],
  ],
  [
    'an include in an included file',
    { 'proxy.yaml': `include: a.yaml\n${SITE}${WEB}`, 'a.yaml': '\ninclude: b.yaml\n' },
    ['a.yaml:2:1 include: an included file includes no others'],
  ],
  [
    'keys of the main file in an included one',
    { 'proxy.yaml': `include: a.yaml\n${SITE}${WEB}`, 'a.yaml': 'acme: {}\nsite: []\n' },
    [
      'a.yaml:1:1 acme: belongs in the main file: an included one has "sites" and "services"',
      'a.yaml:2:1 site: is not a known key; did you mean "sites"?',
    ],
  ],
  [
    'an included file that is a list, and sections that are none',
    { 'proxy.yaml': `include: "*.yaml"\n${SITE}${WEB}`, 'a.yaml': '- a\n', 'b.yaml': 'sites: {}\nservices: []\n' },
    [
      'a.yaml:1:1 : must be a mapping of "sites" and "services"',
      'b.yaml:1:8 sites: must be a list of sites',
      'b.yaml:2:11 services: must be a mapping of names to services',
    ],
  ],
  [
    'a syntax error, and nothing that follows from it',
    { 'proxy.yaml': `include: a.yaml\n${SITE}`, 'a.yaml': 'services: {}\nservices: {}\n' },
    ['a.yaml:2:1 : Map keys must be unique'],
  ],
  [
    'a service of two files',
    { 'proxy.yaml': `include: "*.yaml"\n${SITE}${WEB}`, 'a.yaml': 'services:\n  web: { command: b }\n' },
    ['a.yaml:2:3 services.web: is defined in proxy.yaml:3:13 too'],
  ],
  [
    'a host of two files',
    { 'proxy.yaml': `include: [b.yaml, a.yaml]\n${WEB}`, 'a.yaml': SITE, 'b.yaml': `\n${SITE}` },
    ['a.yaml:1:19 sites[0].hosts[0]: is named in b.yaml:2:19 too; it is "localhost"'],
  ],
  [
    'mistakes in several files, in the order they are read',
    {
      'proxy.yaml': `include: sites/*/*.yaml\n${WEB}shutdown: { grace_period: soon }\n`,
      'sites/b/x.yaml': 'sites:\n  - { hosts: ["${SECRET} x"], service: web }\n',
      'sites/a/x.yaml': 'sites:\n  - { hosts: [a.test], service: web }\n  - { hosts: [b.test], service: wbe }\n',
      'sites/a/y.yaml': 'services: { api: { command: b, workers: 0, user: "${NONE}" } }\n',
    },
    [
      'proxy.yaml:3:27 shutdown.grace_period: is not a duration such as 250ms, 10s, 5m or 24h; it is "soon"',
      'sites/a/x.yaml:3:33 sites[1].service: there is no such service; it is "wbe"; did you mean "web"?',
      'sites/a/y.yaml:1:41 services.api.workers: must be at least 1; it is "0"',
      'sites/a/y.yaml:1:50 services.api.user: the environment has no variable NONE',
      'sites/a/y.yaml:1:50 services.api.user: must not be empty; it is "${NONE}"',
      'sites/b/x.yaml:2:15 sites[0].hosts[0]: is not a host name',
    ],
  ],
];

for (const [mistake, files, expected] of WRONG) {
  test(`names the place of ${mistake}`, (t) => assert.deepEqual(problemsIn(folderWith(t, files)), expected));
}

test('merges the sites and services of every file, by name, each once', (t) => {
  const folder = folderWith(t, {
    'proxy.yaml': `include: ["*.yaml", sites.d/*, sites.d/b.yaml, none.d/*.yaml]\n${SITE}`,
    'sites.d/b.yaml': 'sites: [{ hosts: [b.test], service: web }]\n',
    'sites.d/a.yaml': 'sites: [{ hosts: [a.test], service: web }]\n',
    'sites.d/empty.yaml': '# nothing yet\n',
    'sites.d/.a.yaml.swp': '\0',
    'web.yaml': WEB,
  });
  symlinkSync('a.yaml', path.join(folder, 'sites.d/symlink.yaml'));
  linkSync(path.join(folder, 'sites.d/b.yaml'), path.join(folder, 'sites.d/z.yaml'));
  const { file, files, sites, services } = configIn(folder);
  assert.equal(file, path.join(folder, 'proxy.yaml'));
  assert.deepEqual(
    files.map((name) => path.relative(folder, name)),
    ['proxy.yaml', 'web.yaml', 'sites.d/a.yaml', 'sites.d/b.yaml', 'sites.d/empty.yaml'],
  );
  assert.deepEqual(
    sites.map(({ name }) => name),
    ['localhost', 'a.test', 'b.test'],
  );
  assert.deepEqual(
    services.map(({ name }) => name),
    ['web'],
  );
});

test("takes an included file's paths from its own folder", (t) => {
  const folder = folderWith(t, {
    'proxy.yaml': 'include: shop/site.yaml\n',
    'shop/site.yaml':
      'sites: [{ hosts: [a.test], service: shop, tls: { certificate: a.pem, key: a.key } }]\n' +
      'services: { shop: { command: a, directory: app, env: { A: "file:secret" } } }\n',
    'shop/a.pem': '',
    'shop/a.key': '',
    'shop/app/x': '',
    'shop/secret': 'hunter2\n',
  });
  const { sites, services } = configIn(folder);
  const certificate = path.join(folder, 'shop/a.pem');
  assert.deepEqual(sites[0]?.tls, { mode: 'files', certificate, key: path.join(folder, 'shop/a.key') });
  assert.equal(services[0]?.directory, path.join(folder, 'shop/app'));
  assert.deepEqual(services[0]?.env, { A: 'hunter2' });
});

test('what cannot be read is a problem at its pattern', (t) => {
  const folder = folderWith(t, { 'proxy.yaml': `include: d/*.yaml\n${SITE}${WEB}`, 'd/big.yaml': '' });
  truncateSync(path.join(folder, 'd/big.yaml'), 1024 * 1024 + 1);
  symlinkSync('nowhere', path.join(folder, 'd/gone.yaml'));
  execFileSync('mkfifo', [path.join(folder, 'd/pipe.yaml')]);
  assert.deepEqual(problemsIn(folder), [
    'proxy.yaml:1:10 include: d/big.yaml is larger than 1 MiB',
    'proxy.yaml:1:10 include: d/gone.yaml does not exist',
    'proxy.yaml:1:10 include: d/pipe.yaml is not a file',
  ]);
});

test('stops at its limits', (t) => {
  const folder = folderWith(t, { 'a.yaml': '# 1234', 'b.yaml': '# 1234', 'c.yaml': '# 1234' });
  const main = readDocument(path.join(folder, 'proxy.yaml'), 'include: [a.yaml, b.yaml, c.yaml]\n', {});
  for (const limits of [
    { files: 2, bytes: 1024 },
    { files: 10, bytes: 12 },
  ]) {
    const { documents, problems } = readIncluded(main, {}, limits);
    assert.equal(documents.length, 2);
    assert.deepEqual(
      problems.map(({ path: where }) => where),
      ['include[2]'],
    );
  }
  const all = readDocument(path.join(folder, 'proxy.yaml'), 'include: "*.yaml"\n', {});
  assert.match(readIncluded(all, {}, { files: 2, bytes: 1024 }).problems[0]?.message ?? '', /more than 2 files/);
});
