/** Starting one process of a service: its address, its environment, its rights. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { PrestartConfig, ServiceConfig } from '../config/config.ts';
import type { Address } from '../snapshot.ts';
import { findCommand } from './commands.ts';
import { workerEnvironment } from './environment.ts';
import { execChain, findTools } from './exec_chain.ts';
import type { Chain, WorkerIdentity } from './exec_chain.ts';
import { planCommand } from './presets.ts';
import type { Listening } from './presets.ts';

/** A service that is launched, not only connected to. */
export type LaunchedService = ServiceConfig & { readonly command: readonly string[] };

export interface LaunchOptions {
  readonly service: LaunchedService;
  readonly slot: number;
  readonly generation: number;
  readonly runtimeDirectory: string;
  /** null: ours. */
  readonly identity: WorkerIdentity | null;
  /** The group that may connect to the worker's socket; null: our own. */
  readonly proxyGid: number | null;
}

export type WorkerProcess = ChildProcessByStdio<null, Readable, Readable>;

export interface Launched {
  /** Leader of a process group of its own. */
  readonly child: WorkerProcess;
  readonly pid: number;
  readonly address: Address;
}

/** `not_started`: the machine would not; the others are for the operator to mend, and trying again changes nothing. */
export type LaunchProblem = 'command_not_found' | 'no_directory' | 'not_started';

/** Why a worker could not even be started, for the operator. */
export class LaunchError extends Error {
  readonly code: LaunchProblem;
  constructor(code: LaunchProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Only somebody who installs or configures something can help. */
export function isHopeless(error: unknown): boolean {
  return error instanceof LaunchError && error.code !== 'not_started';
}

const LOOPBACK = '127.0.0.1';
/** Closed to all but the worker and, where the folder's group is theirs, the proxies. */
const SOCKET_UMASK = 0o007;
/** The first descriptor after the standard ones, as systemd counts them. */
const INHERITED_FD = 3;
/** When memory ends the kernel is to take a worker, not what all of them depend on. */
const OOM_SCORE_ADJ = 500;

export async function launchWorker(options: LaunchOptions): Promise<Launched> {
  const { service, slot, generation, identity } = options;
  const plan = planCommand(service);
  const socket = prepareSocket(options);
  const address = await addressOf(plan.listening, socket);
  const values: Readonly<Record<string, string>> = {
    socket,
    port: String('port' in address ? address.port : await freePort()),
    host: LOOPBACK,
    fd: String(INHERITED_FD),
    slot: String(slot),
    gen: String(generation),
  };
  const fill = (text: string): string =>
    text.replaceAll(/\{(socket|port|host|fd|slot|gen)\}/g, (whole, name: string) => values[name] ?? whole);
  const filled = Object.fromEntries(Object.entries(service.env).map(([name, value]) => [name, fill(value)]));
  const env = workerEnvironment({ ...options, service: { ...service, env: filled }, address, preset: plan.env });
  const bound = plan.listening.on === 'fd' ? bind(socket) : null;
  const cleanUp = (): void => {
    bound?.close();
    try {
      rmSync(socket, { force: true });
    } catch {
      // It is a name without a listener: the next worker of the slot has another.
    }
  };
  try {
    const command = plan.command.map(fill);
    const secretName = plan.shown[0] !== plan.command[0];
    const started = await start({ command, secretName, service, env, identity, fd: bound?.fd() ?? null });
    // The worker has a descriptor of its own, but closing ours takes the path away.
    started.child.once('exit', cleanUp);
    return { ...started, address };
  } catch (error) {
    cleanUp();
    throw error;
  }
}

/** A step before the start, which is called `name`: with a worker's rights and environment, but no address. */
export function launchStep(
  { command, shownCommand }: PrestartConfig,
  { service, identity, name }: Pick<LaunchOptions, 'service' | 'identity'> & { readonly name: string },
): Promise<Omit<Launched, 'address'>> {
  const own = workerEnvironment({ service, slot: 0, identity, address: null, preset: {} });
  const env = { ...own, PROXY_WORKER: name };
  return start({ command, secretName: shownCommand[0] !== command[0], service, env, identity, fd: null });
}

interface StartOptions {
  readonly command: readonly string[];
  /** Its first word came from a variable, which is not told. */
  readonly secretName: boolean;
  readonly service: LaunchedService;
  readonly env: Readonly<Record<string, string>>;
  readonly identity: WorkerIdentity | null;
  /** A bound socket's, to inherit. */
  readonly fd: number | null;
}

async function start({
  command,
  secretName,
  service,
  env,
  identity,
  fd,
}: StartOptions): Promise<Omit<Launched, 'address'>> {
  const [name = '', ...args] = command;
  const executable = findExecutable(name, service.directory, env['PATH'] ?? '', secretName);
  const chain = chainOf(service, identity, fd !== null);
  const words = [...chain.words, executable, ...args];
  // The socket must be closed to others from its first moment; a worker's files are its own affair otherwise.
  const umask = process.umask(service.identity.umask ?? SOCKET_UMASK);
  let child: WorkerProcess;
  try {
    child = spawn(words[0] ?? '', words.slice(1), {
      cwd: service.directory,
      env,
      stdio: ['ignore', 'pipe', 'pipe', ...(fd === null ? [] : [fd])],
      detached: true,
      ...chain.spawnAs,
      // What the first three are is told above; the types lose it where a fourth may follow.
    }) as WorkerProcess;
  } catch (cause) {
    // Too long an argument is thrown, while a lack of processes is an event.
    throw new LaunchError('not_started', 'its command cannot be started', { cause });
  } finally {
    process.umask(umask);
  }
  const { pid } = child;
  if (pid === undefined) throw await spawnProblem(child);
  favour(pid, service.identity.nice);
  return { child, pid };
}

async function addressOf(listening: Listening, socket: string): Promise<Address> {
  switch (listening.on) {
    case 'socket':
    case 'fd':
      return { path: socket };
    case 'port':
      return { host: LOOPBACK, port: await freePort() };
    case 'fixed':
      return listening.address;
  }
}

/** What an operator should know of how workers of a service are started here; the same for each of them. */
export function launchWarnings({
  service,
  identity,
  proxyGid,
}: Pick<LaunchOptions, 'service' | 'identity' | 'proxyGid'>): readonly string[] {
  const plan = planCommand(service);
  const { umask, nice } = service.identity;
  const warnings = [...plan.warnings, ...chainOf(service, identity, plan.listening.on === 'fd').warnings];
  // Proxies of another user connect by the rights of their group, and connecting is writing.
  if (plan.listening.on === 'socket' && proxyGid !== null && umask !== null && (umask & 0o020) !== 0) {
    warnings.push(
      '"umask" may close the worker\'s socket to the proxies: use {fd} instead of {socket}, or one like "007"',
    );
  }
  if (nice !== null && nice < os.getPriority() && process.getuid?.() !== 0)
    warnings.push('"nice" below ours needs root');
  return warnings;
}

function chainOf(service: LaunchedService, identity: WorkerIdentity | null, listenFds: boolean): Chain {
  return execChain({
    limits: service.identity,
    identity,
    listenFds,
    tools: findTools(process.env['PATH'] ?? ''),
  });
}

/** Right after the start, before it has children, which inherit it. */
function favour(pid: number, nice: number | null): void {
  try {
    // Raising it needs no rights.
    const file = `/proc/${pid}/oom_score_adj`;
    if (Number(readFileSync(file, 'latin1')) < OOM_SCORE_ADJ) writeFileSync(file, String(OOM_SCORE_ADJ));
  } catch {
    // Not Linux, or it is gone already.
  }
  try {
    if (nice !== null) os.setPriority(pid, nice);
  } catch {
    // Told by `launchWarnings`, or it is gone already.
  }
}

/** Bound by us and not listening: that is up to who inherits it. */
function bind(socket: string): net.BoundSocket {
  // The types do not know `path` yet.
  const options: net.BoundSocketOptions & { readonly path: string } = { path: socket };
  const umask = process.umask(SOCKET_UMASK);
  try {
    return new net.BoundSocket(options);
  } finally {
    process.umask(umask);
  }
}

/** The worker's socket path, in a folder it may write and only the proxies may enter. */
function prepareSocket({ service, slot, generation, runtimeDirectory, identity, proxyGid }: LaunchOptions): string {
  const services = path.join(runtimeDirectory, 'services');
  const folder = path.join(services, service.name);
  mkdirSync(services, { recursive: true, mode: 0o711 });
  mkdirSync(folder, { recursive: true, mode: 0o750 });
  if (process.getuid?.() === 0) {
    chmodSync(services, 0o711);
    chownSync(folder, identity?.uid ?? 0, proxyGid ?? 0);
    // Setgid: sockets made here belong to the proxies' group.
    chmodSync(folder, 0o2750);
  }
  const socket = path.join(folder, `${slot}.${generation}.sock`);
  rmSync(socket, { force: true });
  return socket;
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, LOOPBACK, resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `secret`: its name is not to be told. */
function findExecutable(command: string, directory: string, searchPath: string, secret: boolean): string {
  const outcome = findCommand(command, directory, searchPath);
  if (outcome.ok) return outcome.file;
  const { problem, hint, code } = outcome;
  if (secret && code === 'command_not_found') throw new LaunchError(code, 'command not found: a variable names it');
  throw new LaunchError(code, hint === null ? problem : `${problem}; did you mean ${hint}?`);
}

function spawnProblem(child: WorkerProcess): Promise<LaunchError> {
  return new Promise((resolve) => {
    child.once('error', (cause) => resolve(new LaunchError('not_started', 'its command cannot be started', { cause })));
  });
}
