import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { Contender, ContenderKind, Stage } from './contender.ts';
import { pinned } from '../machine.ts';
import { processTree } from '../usage.ts';
import { VERSION } from '../../../src/version.ts';
import { FIXTURES, freePort, startDaemon } from '../../support/daemon.ts';

/** Ours. It launches the workers itself, over Unix sockets, unless the stage has some at ports. */
export function proxy(processes: number, name = 'proxy'): ContenderKind {
  return { name, version: () => VERSION, start: (stage) => start(name, processes, stage, '') };
}

/** Ours with its metrics to be had. */
export const observedProxy: ContenderKind = {
  name: 'log and metrics',
  version: () => VERSION,
  start: async (stage) => start('log and metrics', 1, stage, `metrics: { address: "127.0.0.1:${await freePort()}" }\n`),
};

/** Ours with nothing of that. */
export const unobservedProxy: ContenderKind = {
  name: 'neither',
  version: () => VERSION,
  start: (stage) => start('neither', 1, { ...stage, accessLog: false }, 'metrics: off\n'),
};

function logging(accessLog: string | null): string {
  return `{ format: json, access: ${accessLog === null ? 'false' : `{ file: ${accessLog} }`} }`;
}

async function start(name: string, processes: number, stage: Stage, more: string): Promise<Contender> {
  const accessLog = stage.accessLog ? path.join(stage.folder, 'access.log') : null;
  const byPort = stage.workers.filter((address) => !address.startsWith('unix:'));
  const service =
    byPort.length > 0
      ? `{ upstreams: [${byPort.map((address) => `"http://${address}"`).join(', ')}] }`
      : `{ command: [${workerCommand(stage).join(', ')}], directory: ${FIXTURES}, workers: 2 }`;
  const daemon = await startDaemon({
    config: `${more}proxy_processes: ${processes}
logging: ${logging(accessLog)}
sites: [{ hosts: [localhost], tls: { certificate: ${stage.tls.certificate}, key: ${stage.tls.key} }, service: web }]
services: { web: ${service} }
`,
    host: '127.0.0.1',
    wrapper: pinned(stage.core),
    output: path.join(stage.folder, 'output.log'),
  });
  const sockets = path.join(daemon.folder, 'run/services/web');
  const workersOf = async (): Promise<ReadonlySet<number>> => {
    const { services } = await daemon.status();
    return new Set(services.flatMap((service) => service.workers.flatMap(({ pid }) => pid ?? [])));
  };
  return {
    name,
    port: daemon.ports.https,
    origin: daemon.origin,
    accessLog,
    workers:
      byPort.length > 0
        ? byPort
        : readdirSync(sockets).flatMap((entry) => (entry.endsWith('.sock') ? `unix:${path.join(sockets, entry)}` : [])),
    pids: async () => processTree(daemon.pid, await workersOf()),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

function workerCommand({ workerCores }: Stage): readonly string[] {
  // Which worker it is cannot be told here: either may run on the cores of both.
  return ['taskset', '-c', `"${workerCores}"`, process.execPath, 'bench_worker.mjs', '"{socket}"'];
}
