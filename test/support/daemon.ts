/** A running proxy of its own for a test: its folder, its ports, its log; gone with all it started when the test ends. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { eventually } from './eventually.ts';
import { run } from './processes.ts';
import type { Finished } from './processes.ts';
import { callDaemon } from '../../src/cli/admin_client.ts';

export const ROOT = path.join(import.meta.dirname, '../..');
export const FIXTURES = path.join(ROOT, 'test/fixtures');
const MAIN = path.join(ROOT, 'src/main.ts');

export interface Ports {
  readonly http: number;
  readonly https: number;
}

export interface Daemon extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly folder: string;
  readonly file: string;
  readonly ports: Ports;
  /** `https://localhost:PORT` */
  readonly origin: string;
  readonly ca: string;
  /** What it logged so far. */
  log(): string;
  /** Its events of one kind. */
  events(event: string): Record<string, unknown>[];
  status(): Promise<Status>;
  /** Runs a verb against it. */
  verb(...args: readonly string[]): Promise<Finished>;
  /** Resolves with its exit code. */
  readonly exited: Promise<number | null>;
}

export interface WorkerView {
  readonly id: string;
  readonly pid: number | null;
  readonly state: string;
  readonly in_flight: number;
  /** Bytes; of one core. */
  readonly memory: number | null;
  readonly cpu: number | null;
  readonly restarts: number;
  readonly restarts_by_reason: Readonly<Record<string, number>>;
  readonly waits_for: string | null;
  readonly last_exit: string | null;
  readonly lost_lines: number;
}

export interface ServiceView {
  readonly name: string;
  /** null: it only has upstreams. */
  readonly state: string | null;
  readonly workers: readonly WorkerView[];
  readonly release?: { readonly id: string; readonly name: string | null; readonly directory: string } | null;
  readonly prestart?: { readonly step: string; readonly started_at: string } | null;
  readonly problem?: string | null;
  /** null: its workers are not ours. */
  readonly scaling: {
    readonly overridden: boolean;
    readonly last: {
      readonly at: string;
      readonly from: number;
      readonly to: number;
      readonly reason: string;
      readonly cpu: number | null;
      readonly busy: number | null;
      readonly host_cpu: number | null;
      readonly memory: string;
    } | null;
  } | null;
}

export interface ProxyView {
  readonly slot: number;
  readonly pid: number | null;
  readonly state: string;
  /** Both as of the last second. */
  readonly connections: number;
  readonly requests: number;
}

export interface Status {
  readonly proxies: readonly ProxyView[];
  readonly services: readonly ServiceView[];
  readonly certificates: readonly {
    readonly name: string;
    readonly serial: string | null;
    readonly issuer: string;
    readonly not_before: string | null;
    readonly last_error: string | null;
  }[];
}

export interface DaemonOptions {
  /** YAML of `sites`, `services` and whatever else; `FOLDER` and `FIXTURES` in it become paths. */
  readonly config: string;
  readonly env?: Readonly<Record<string, string>>;
  /** More keys of the https entrypoint. */
  readonly entrypoint?: string;
  /** More keys of the plain one. */
  readonly plain?: string;
  /** An existing folder: another run on the same state. */
  readonly folder?: string;
  readonly ports?: Ports;
  /** Do not wait until every worker is ready. */
  readonly started?: boolean;
  /** The address it listens on; all of them without. */
  readonly host?: string;
  /** Words before its command: `taskset` and the like. */
  readonly wrapper?: readonly string[];
  /** A file that gets what it writes. */
  readonly output?: string;
  /** The program, instead of this checkout. */
  readonly program?: readonly string[];
}

/** Two workers of the fixture that records what it executes. */
export const RECORDING_SERVICE = `
services:
  web:
    command: node worker.mjs {socket}
    directory: FIXTURES
    workers: 2
    env: { RECORD: FOLDER/shared/executed }
`;

export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'proxy-test-'));
  // Proxies and workers that are nobody must get in.
  chmodSync(folder, 0o755);
  mkdirSync(path.join(folder, 'shared'));
  chmodSync(path.join(folder, 'shared'), 0o777);
  return folder;
}

export function writeConfig(
  folder: string,
  ports: Ports,
  config: string,
  entrypoint = '',
  plain = '',
  host = '',
): string {
  const file = path.join(folder, 'proxy.yaml');
  // Many run at once on one machine: only those that are to have the address bind it.
  const metrics = /^metrics:/m.test(config) ? '' : 'metrics: off\n';
  const text = `runtime_directory: FOLDER/run
storage: { root: FOLDER/state }
entrypoints:
  http: { address: "${host}:${ports.http}"${plain === '' ? '' : `, ${plain}`} }
  https: { address: "${host}:${ports.https}"${entrypoint === '' ? '' : `, ${entrypoint}`} }
${config}
${metrics}`;
  writeFileSync(file, text.replaceAll('FOLDER', folder).replaceAll('FIXTURES', FIXTURES));
  return file;
}

export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const folder = options.folder ?? temporaryFolder();
  const ports = options.ports ?? { http: await freePort(), https: await freePort() };
  const file = writeConfig(folder, ports, options.config, options.entrypoint, options.plain, options.host);
  const output = options.output === undefined ? null : openSync(options.output, 'a');
  const program = options.program ?? [process.execPath, MAIN];
  const [command = '', ...args] = [...(options.wrapper ?? []), ...program, 'run', '-c', file];
  const child = spawn(command, args, {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', output ?? 'pipe', output ?? 'pipe'],
  });
  if (output !== null) closeSync(output);
  let received = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (received += text));
  }
  const log = (): string => (options.output === undefined ? received : readFileSync(options.output, 'utf8'));
  const exited = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  const socket = path.join(folder, 'run/admin.sock');
  const daemon: Daemon = {
    child,
    pid: child.pid ?? 0,
    folder,
    file,
    ports,
    origin: `https://localhost:${ports.https}`,
    ca: path.join(folder, 'state/internal/root.pem'),
    log,
    events: (event) =>
      log()
        .split('\n')
        .flatMap((line) => {
          if (!line.includes(`"event":"${event}"`)) return [];
          return [JSON.parse(line) as Record<string, unknown>];
        }),
    status: async () => (await callDaemon(socket, 'GET', '/v1/status')) as Status,
    verb: (...args) => run(program[0] ?? '', [...program.slice(1), ...args, '-c', file]),
    exited,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await exited;
      }
      if (options.folder === undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  if (options.started === false) return daemon;
  try {
    await eventually(
      async () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
        const { services, proxies } = await daemon.status();
        const workers = services.flatMap((service) => service.workers);
        const begun = services.every(({ state }) => state === null || state === 'up');
        return begun && [...workers, ...proxies].every(({ state }) => state === 'ready');
      },
      { withinMs: 20_000 },
    );
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(`the daemon did not start; its log:\n${log()}`, { cause: error });
  }
  return daemon;
}

/** A port nobody has at the moment. */
/**
 * A port nobody uses, and nobody is given by chance before it is used: not one of those the system gives to connections, and
 * each process of tests has a range of its own.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + (process.pid % PORT_RANGES) * PORTS_EACH + (nextPort++ % PORTS_EACH);
    const server = net.createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

const FIRST_PORT = 10_000;
const PORTS_EACH = 100;
const PORT_RANGES = 220;
let nextPort = 0;
