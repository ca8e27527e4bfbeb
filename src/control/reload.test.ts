import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planReload } from './reload.ts';
import { serviceConfig } from '../../test/support/values.ts';
import type { Config, ServiceConfig } from '../config/config.ts';

function service(name: string, workers = 2): ServiceConfig {
  return serviceConfig({ name, command: ['app'], workers });
}

const STDOUT = { file: null, format: 'auto', sample: 1 } as const;

function config(changes: Partial<Config> = {}): Config {
  return {
    file: '/proxy.yaml',
    files: ['/proxy.yaml'],
    user: null,
    group: null,
    runtimeDirectory: '/run/proxy',
    stateDirectory: '/var/lib/proxy',
    allowEphemeral: false,
    entrypoints: [],
    trustedProxies: [],
    forwardedHeader: false,
    requestIdHeader: true,
    errorPages: {},
    tracing: null,
    proxyProcesses: 2,
    acme: null,
    sites: [],
    services: [service('a'), service('b')],
    shutdown: { delayMs: 0, gracePeriodMs: 1 },
    metrics: null,
    admin: { socket: '/run/proxy/admin.sock' },
    logging: { level: 'info', format: 'auto', access: STDOUT },
    ...changes,
  };
}

test('an unchanged file changes nothing', () => {
  const plan = planReload(config(), config().services, config());
  assert.deepEqual(plan.changes, []);
  assert.deepEqual(plan.config, config());
});

test('tells added, changed and removed services apart', () => {
  const next = config({ services: [service('b', 3), service('c')] });
  const { services, changes } = planReload(config(), config().services, next);
  assert.deepEqual(
    [services.added.map(({ name }) => name), services.changed.map(({ name }) => name), services.removed],
    [['c'], ['b'], ['a']],
  );
  assert.deepEqual(changes, ['service c added', 'service b changed', 'service a removed']);
});

test('a metrics address whose host alone differs is kept and named', () => {
  const at = (host: string | null, port: number) => ({ metrics: { host, port, token: null } });
  const before = config(at('127.0.0.1', 9180));
  const moved = planReload(before, before.services, config(at('127.0.0.1', 9181)));
  assert.deepEqual([moved.changes, moved.notReloaded, moved.config.metrics?.port], [['metrics changed'], [], 9181]);
  const widened = planReload(before, before.services, config(at(null, 9180)));
  assert.deepEqual([widened.changes, widened.notReloaded], [[], ['metrics.address']]);
  assert.equal(widened.config.metrics?.host, '127.0.0.1');
});

test('keeps and names what only a new start can change', () => {
  const next = config({
    runtimeDirectory: '/elsewhere',
    proxyProcesses: 8,
    logging: { level: 'debug', format: 'auto', access: null },
  });
  const plan = planReload(config(), config().services, next);
  assert.deepEqual(plan.notReloaded, ['runtime_directory', 'proxy_processes', 'logging.level']);
  assert.equal(plan.config.runtimeDirectory, '/run/proxy');
  assert.equal(plan.config.proxyProcesses, 2);
  assert.deepEqual(plan.config.logging, { level: 'info', format: 'auto', access: null });
});
