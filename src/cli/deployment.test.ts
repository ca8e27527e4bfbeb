import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { deploymentYaml, readDeployment } from './deployment.ts';
import { parseConfig } from '../config/load.ts';

const NOTHING = { command: [] };

test('no words are no deployment', () => {
  assert.deepEqual(readDeployment(NOTHING), { kind: 'none' });
});

for (const [missing, words, expected] of [
  ['the name', { command: ['app'] }, /--host/],
  ['the app', { host: ['a.example'], command: [] }, /-- COMMAND/],
  ['the choice between two apps', { host: ['a.example'], to: ['http://app:8000'], command: ['app'] }, /either/],
  ['all but the address', { email: 'me@example.com', command: [] }, /--host/],
] as const) {
  test(`what lacks ${missing} says so`, () => {
    const read = readDeployment(words);
    assert.match(read.kind === 'incomplete' ? read.problem : '', expected);
  });
}

test('a few words are a whole configuration, whatever stands in them', () => {
  const command = ['/bin/sh', '-c', 'echo "${HOME}: # \'x\'"', '{socket}'];
  const words = { host: ['app.example.com', 'www.example.com'], email: 'me@example.com', 'agree-tos': true, command };
  const read = readDeployment(words);
  assert.ok(read.kind === 'deployment');
  const loaded = parseConfig({
    file: path.join(import.meta.dirname, 'command line'),
    text: deploymentYaml(read.deployment),
    env: {},
  });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  assert.deepEqual(loaded.config.sites[0]?.hosts, words.host);
  assert.deepEqual(loaded.config.services[0]?.command, command);
  assert.equal(loaded.config.services[0]?.directory, import.meta.dirname);
});

test('terms nobody agreed to are a problem of the configuration', () => {
  const read = readDeployment({ host: ['app.example.com'], to: ['http://app:8000'], command: [] });
  assert.ok(read.kind === 'deployment');
  const loaded = parseConfig({
    file: path.join(import.meta.dirname, 'command line'),
    text: deploymentYaml(read.deployment),
    env: {},
  });
  assert.ok(!loaded.ok);
  assert.match(loaded.problems[0]?.message ?? '', /agree_tos: true/);
});
