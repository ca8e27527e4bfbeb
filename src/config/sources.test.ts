import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { formatProblem, loadConfig } from './load.ts';
import type { Loaded } from './load.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-include-'));
  mkdirSync(path.join(folder, 'sites.d/app'), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): void {
  writeFileSync(path.join(folder, name), text);
}

function load(main: string): Loaded {
  write('proxy.yaml', main);
  return loadConfig({ file: path.join(folder, 'proxy.yaml'), env: {} });
}

function problems(main: string): string[] {
  const loaded = load(main);
  return loaded.ok ? [] : loaded.problems.map((problem) => formatProblem(problem).replaceAll(`${folder}/`, ''));
}

const SITE = 'sites: [{ hosts: [localhost], service: web }]\nservices: { web: { upstreams: ["http://a:1"] } }\n';

test('sites and services of included files stand beside the main ones, by name of the files', () => {
  write('sites.d/b.yaml', 'sites: [{ hosts: [b.localhost], service: web }]\n');
  write(
    'sites.d/a.yaml',
    'sites: [{ hosts: [a.localhost], service: own }]\nservices: { own: { command: x, directory: app } }\n',
  );
  write('more.yaml', 'sites: [{ hosts: [more.localhost], service: web }]\n');
  const loaded = load(`include: [sites.d/*.yaml, more.yaml, sites.d/a.yaml]\n${SITE}`);
  assert.ok(loaded.ok, JSON.stringify(loaded));
  const { sites, services, files } = loaded.config;
  assert.deepEqual(
    sites.map(({ name }) => name),
    ['localhost', 'a.localhost', 'b.localhost', 'more.localhost'],
  );
  assert.equal(services.find(({ name }) => name === 'own')?.directory, path.join(folder, 'sites.d/app'));
  assert.deepEqual(
    files.map((file) => path.relative(folder, file)),
    ['proxy.yaml', 'sites.d/a.yaml', 'sites.d/b.yaml', 'more.yaml'],
  );
});

test('the main file may have no site of its own, and a folder no file yet', () => {
  write('sites.d/a.yaml', SITE);
  assert.ok(load('include: sites.d/*.yaml\n').ok);
  assert.ok(load(`include: none.d/*.yaml\n${SITE}`).ok);
});

test('every problem is at its own place', () => {
  write(
    'sites.d/a.yaml',
    'sites:\n  - { hosts: [localhost], service: wep }\nservices: { web: { command: a } }\nuser: x\n',
  );
  write('sites.d/b.yaml', 'include: c.yaml\nsites: [{ hosts: [b.localhost], service: web }]\n');
  write('sites.d/c.yaml', 'sites: [\n');
  write('sites.d/d.yaml', 'sites: [{ hosts: [LOCALHOST], service: web }]\n');
  const [gone, ...rest] = problems(`include: [sites.d/*.yaml, gone.yaml]\n${SITE}`);
  assert.equal(gone, 'proxy.yaml:1:27 include[1]: there is a problem with gone.yaml');
  assert.deepEqual(
    rest.filter((line) => !line.startsWith('sites.d/c.yaml')),
    [
      'sites.d/a.yaml:2:36 sites[0].service: there is no such service; it is "wep"; did you mean "web"?',
      'sites.d/a.yaml:3:13 services.web: is the name of another service too, at proxy.yaml:3:13',
      'sites.d/a.yaml:4:1 user: is not a known key; known here: sites, services',
      'sites.d/b.yaml:1:1 include: an included file includes no further ones',
      'sites.d/d.yaml:1:19 sites[0].hosts[0]: belongs to another site or is named twice; it is "LOCALHOST"',
      'gone.yaml:1:1 the file does not exist',
    ],
  );
  assert.match(rest.find((line) => line.startsWith('sites.d/c.yaml')) ?? '', /^sites\.d\/c\.yaml:\d+:\d+ /);
});

test('an include that is no path is told', () => {
  assert.deepEqual(problems(`include: [3]\n${SITE}`), [
    'proxy.yaml:1:11 include[0]: must be a path such as sites.d/*.yaml, or a list of them',
  ]);
});
