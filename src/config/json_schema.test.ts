import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { configurationJsonSchema } from './json_schema.ts';

const validator = z.fromJSONSchema(configurationJsonSchema());

function accepts(yaml: string): boolean {
  return validator.safeParse(parse(yaml)).success;
}

test('the JSON Schema accepts the example of this repository', () => {
  const text = readFileSync(path.join(import.meta.dirname, '../../config/proxy.yaml'), 'utf8');
  const result = validator.safeParse(parse(text));
  assert.ok(result.success, result.success ? '' : result.error.message);
});

for (const yaml of [
  'include: sites.d/*.yaml',
  'services: { web: { command: [a, b], workers: "${COUNT}", timeouts: { start: 1m30s, stop: 0 } } }',
  'sites: [{ hosts: [a.test], service: web, max_body_size: 10MiB, tls: { certificate: a, key: b } }]',
]) {
  test(`the JSON Schema accepts ${yaml}`, () => assert.ok(accepts(yaml)));
}

for (const yaml of [
  'entrypoint: {}',
  'include: [5]',
  'services: { web: { comand: a } }',
  'services: { Web: { command: a } }',
  'services: { web: { workers: 0 } }',
  'services: { web: { timeouts: { start: 10 } } }',
  'shutdown: { grace_period: 25 seconds }',
  'sites: [{ hosts: [], service: web }]',
  'sites: [{ service: web }]',
  'sites: [{ hosts: [a.test], max_body_size: 10mb }]',
  'sites: [{ hosts: [a.test], tls: { certificate: a } }]',
]) {
  test(`the JSON Schema refuses ${yaml}`, () => assert.ok(!accepts(yaml)));
}
