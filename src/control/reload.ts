/** What a new configuration changes, as a value: pure, so that everything that can be refused is known before anything is done. */
import type { Config, ServiceConfig } from '../config/config.ts';

export interface ReloadPlan {
  /** The new configuration, with what only a new start can change as it was. */
  readonly config: Config;
  /** For people. */
  readonly changes: readonly string[];
  /** Keys that differ and need a new start. */
  readonly notReloaded: readonly string[];
  readonly services: {
    readonly added: readonly ServiceConfig[];
    readonly changed: readonly ServiceConfig[];
    readonly removed: readonly string[];
  };
}

/** `running`: the services as they are, which after a failed reload is not what `before` says. */
export function planReload(before: Config, running: readonly ServiceConfig[], next: Config): ReloadPlan {
  const old = new Map(running.map((service) => [service.name, service]));
  const added = next.services.filter(({ name }) => !old.has(name));
  const changed = next.services.filter((service) => old.has(service.name) && !same(old.get(service.name), service));
  const removed = [...old.keys()].filter((name) => !next.services.some((service) => service.name === name));
  // The port would have to be given up before it is known whether the other address can be had.
  const metricsFixed = before.metrics?.port === next.metrics?.port && before.metrics?.host !== next.metrics?.host;
  const config: Config = {
    ...next,
    user: before.user,
    group: before.group,
    runtimeDirectory: before.runtimeDirectory,
    stateDirectory: before.stateDirectory,
    proxyProcesses: before.proxyProcesses,
    admin: before.admin,
    tracing: before.tracing,
    metrics: metricsFixed ? before.metrics : next.metrics,
    logging: { ...before.logging, access: next.logging.access },
  };
  const sections = (['sites', 'acme', 'entrypoints', 'shutdown', 'metrics'] as const).filter(
    (key) => !same(before[key], config[key]),
  );
  const fixed: readonly (readonly [string, unknown, unknown])[] = [
    ['user', before.user, next.user],
    ['group', before.group, next.group],
    ['runtime_directory', before.runtimeDirectory, next.runtimeDirectory],
    ['storage.root', before.stateDirectory, next.stateDirectory],
    ['proxy_processes', before.proxyProcesses, next.proxyProcesses],
    ['admin.socket', before.admin.socket, next.admin.socket],
    ['metrics.address', metricsFixed, false],
    ['tracing', same(before.tracing, next.tracing), true],
    ['logging.level', before.logging.level, next.logging.level],
    ['logging.format', before.logging.format, next.logging.format],
  ];
  return {
    config,
    changes: [
      ...added.map(({ name }) => `service ${name} added`),
      ...changed.map(({ name }) => `service ${name} changed`),
      ...removed.map((name) => `service ${name} removed`),
      ...sections.map((key) => `${key} changed`),
      ...(same(before.errorPages, next.errorPages) ? [] : ['errors changed']),
      ...(same(before.logging.access, next.logging.access) ? [] : ['logging.access changed']),
    ],
    notReloaded: fixed.filter(([, a, b]) => a !== b).map(([key]) => key),
    services: { added, changed, removed },
  };
}

/** Whether workers of `before` cannot be those of `next`: what a process is started with differs. */
export function needsOtherWorkers(before: ServiceConfig, next: ServiceConfig): boolean {
  const process = ({ command, directory, env, identity }: ServiceConfig): unknown[] => [
    command,
    directory,
    env,
    identity,
  ];
  return !same(process(before), process(next)) || before.healthCheck.type !== next.healthCheck.type;
}

/** Configurations are plain values whose keys come in one order. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
