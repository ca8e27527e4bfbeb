/** The examples in docker/: what orchestrators would refuse, and what proxy itself would. An image is built by a proof. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { ROOT, temporaryFolder } from './support/daemon.ts';
import { run } from './support/processes.ts';
import { createSelfSigned } from './support/self_signed.ts';
import { parseConfig } from '../src/config/load.ts';
import type { Config } from '../src/config/config.ts';

const DOCKER = path.join(ROOT, 'docker');
const read = (file: string): string => readFileSync(path.join(DOCKER, file), 'utf8');

/** What stands in the examples and is not on this machine. */
const ENVIRONMENT = { METRICS_TOKEN: 'change-me-change-me' };

const folder = temporaryFolder();
before(async () => {
  await createSelfSigned(folder, 'app.example.com', 'tls');
  renameSync(path.join(folder, 'tls.pem'), path.join(folder, 'tls.crt'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function load(text: string): Config {
  const here = text
    .replaceAll('/srv/app', path.join(DOCKER, 'fastapi'))
    .replaceAll('file:/run/secrets/metrics_token', "'${METRICS_TOKEN}'")
    .replaceAll('/etc/proxy/tls', folder);
  const loaded = parseConfig({ file: path.join(DOCKER, 'proxy.yaml'), text: here, env: ENVIRONMENT });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return loaded.config;
}

/** How long it may take to end. */
function stopMs({ shutdown }: Config): number {
  return shutdown.delayMs + shutdown.gracePeriodMs;
}

function seconds(duration: unknown): number {
  return Number(/^(\d+)s$/.exec(String(duration))?.[1]) * 1_000;
}

for (const folder of ['fastapi', 'python-slim']) {
  test(`the configuration in docker/${folder} is a good one`, () => {
    assert.ok(load(read(`${folder}/proxy.yaml`)).services.length > 0);
  });
}

for (const file of ['compose/compose.yaml', 'swarm/stack.yaml']) {
  test(`docker/${file} is as Compose's schema says, and gives proxy the time it takes to end`, async () => {
    const { code, stderr } = await run('docker-compose', ['-f', path.join(DOCKER, file), 'config', '--quiet']);
    assert.equal(code, 0, stderr);
    const { services } = parse(read(file)) as { services: Record<string, Record<string, unknown>> };
    const config = load(read(path.join(path.dirname(file), 'proxy.yaml')));
    assert.ok(seconds(services['proxy']?.['stop_grace_period']) > stopMs(config));
  });
}

const KINDS: Readonly<Record<string, string>> = {
  ConfigMap: 'core/v1',
  Secret: 'core/v1',
  Service: 'core/v1',
  Deployment: 'apps/v1',
  PodDisruptionBudget: 'policy/v1',
};

interface Manifest {
  readonly kind: string;
  readonly apiVersion: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template?: { readonly spec?: { readonly terminationGracePeriodSeconds?: number } } };
}

function manifests(): readonly Manifest[] {
  return parseAllDocuments(read('kubernetes/proxy.yaml')).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
}

/** What the types made from Kubernetes' published OpenAPI say of literals: unknown keys are errors there. */
async function checkTypes(objects: readonly Manifest[]): Promise<string> {
  const lines = objects.map((object, i) => {
    const module = path.join(ROOT, 'node_modules/kubernetes-types', KINDS[object.kind] ?? '');
    const type = `import type { ${object.kind} as Kind${i} } from '${module}';`;
    return `${type}\nexport const object${i}: Kind${i} = ${JSON.stringify(object)};\n`;
  });
  const file = path.join(folder, 'manifests.ts');
  writeFileSync(file, lines.join(''));
  const options = ['--ignoreConfig', '--noEmit', '--strict', '--skipLibCheck', '--module', 'preserve', '--types', ''];
  const { stdout } = await run(path.join(ROOT, 'node_modules/.bin/tsc'), [...options, file], { env: process.env });
  return stdout;
}

test('the Kubernetes manifests are as its published types say', async () => {
  const objects = manifests();
  assert.deepEqual(new Set(objects.map(({ kind }) => kind)), new Set(Object.keys(KINDS)));
  for (const { kind, apiVersion } of objects) assert.equal(apiVersion, KINDS[kind]?.replace('core/', ''));
  assert.equal(await checkTypes(objects), '');
  // A word that Kubernetes does not know would be found.
  const misspelt = JSON.parse(JSON.stringify(objects).replace('readinessProbe', 'readynessProbe')) as Manifest[];
  assert.match(await checkTypes(misspelt), /readynessProbe/);
});

test('a pod gets the time proxy takes to end, after being taken out of endpoints', () => {
  const objects = manifests();
  const config = load(objects.find(({ kind }) => kind === 'ConfigMap')?.data?.['proxy.yaml'] ?? '');
  const deployment = objects.find(({ kind }) => kind === 'Deployment');
  const given = (deployment?.spec?.template?.spec?.terminationGracePeriodSeconds ?? 0) * 1_000;
  assert.equal(config.shutdown.delayMs, 10_000);
  assert.ok(given > stopMs(config));
});
