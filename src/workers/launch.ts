/** Starting one process of a service: its address, its environment, its rights. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { accessSync, chmodSync, chownSync, constants, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { ServiceConfig } from '../config/config.ts';
import type { Address, Identity } from '../snapshot.ts';

/** A service that is launched, not only connected to. */
export type LaunchedService = ServiceConfig & { readonly command: readonly string[] };

export interface LaunchOptions {
  readonly service: LaunchedService;
  readonly slot: number;
  readonly generation: number;
  readonly runtimeDirectory: string;
  /** null: ours. */
  readonly identity: Identity | null;
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

/** Why a worker could not even be started, for the operator. */
export class LaunchError extends Error {}

/** Names of the small set a worker inherits; everything else it gets from `env`. */
const INHERITED = /^(?:PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|SSL_CERT_(?:FILE|DIR)|VIRTUAL_ENV)$/;

const SETPRIV = findInPath('setpriv', process.env['PATH'] ?? '');

export async function launchWorker(options: LaunchOptions): Promise<Launched> {
  const { service, slot, identity } = options;
  const wantsSocket = service.command.some((word) => word.includes('{socket}'));
  const socket = prepareSocket(options);
  const port = wantsSocket ? null : await freePort();
  const env = workerEnvironment(options, wantsSocket ? null : port);
  const fill = (word: string): string =>
    word.replaceAll('{socket}', socket).replaceAll('{port}', String(port)).replaceAll('{slot}', String(slot));
  const [command = '', ...args] = service.command.map(fill);
  const executable = findCommand(command, service.directory, env['PATH'] ?? '');
  const words =
    SETPRIV === null ? [executable, ...args] : [SETPRIV, ...privileges(identity), '--', executable, ...args];

  // The socket must be closed to others from its first moment; a worker's files are its own affair otherwise.
  const umask = process.umask(0o007);
  let child: WorkerProcess;
  try {
    child = spawn(words[0] ?? '', words.slice(1), {
      cwd: service.directory,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(SETPRIV === null && identity !== null ? { uid: identity.uid, gid: identity.gid } : {}),
    });
  } finally {
    process.umask(umask);
  }
  const { pid } = child;
  if (pid === undefined) throw await spawnProblem(child, command);
  return { child, pid, address: port === null ? { path: socket } : { host: '127.0.0.1', port } };
}

/** The environment of a worker: a small inherited set, what it needs to know of us, and the service's own on top. */
export function workerEnvironment(
  { service, slot, identity }: Pick<LaunchOptions, 'service' | 'slot' | 'identity'>,
  port: number | null,
  inherited: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    if (value !== undefined && INHERITED.test(name)) env[name] = value;
  }
  // `node app.mjs` works where only ours is installed.
  env['PATH'] = [env['PATH'], path.dirname(process.execPath)].filter(Boolean).join(path.delimiter);
  if (identity !== null) {
    env['USER'] = identity.name;
    env['LOGNAME'] = identity.name;
    env['HOME'] = passwdEntry(identity.uid)?.home ?? '/';
  }
  if (port !== null) {
    env['PORT'] = String(port);
    env['HOST'] = '127.0.0.1';
  }
  env['PROXY_WORKER'] = `${service.name}/${slot}`;
  // uvicorn and gunicorn believe X-Forwarded-* only from here; a socket has no address, its permissions are the guard.
  env['FORWARDED_ALLOW_IPS'] = port === null ? '*' : '127.0.0.1';
  // Without these a worker's last words stay in its buffer.
  env['PYTHONUNBUFFERED'] = '1';
  env['PYTHONFAULTHANDLER'] = '1';
  return { ...env, ...service.env };
}

function privileges(identity: Identity | null): string[] {
  const words = ['--pdeathsig', 'KILL'];
  if (identity === null) return words;
  const groups = passwdEntry(identity.uid) === null ? '--clear-groups' : '--init-groups';
  return [...words, '--reuid', String(identity.uid), '--regid', String(identity.gid), groups];
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
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** setpriv would hide why a command cannot be run. */
function findCommand(command: string, directory: string, searchPath: string): string {
  const isDirectory = statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (!isDirectory) throw new LaunchError(`the directory does not exist: ${directory}`);
  if (!command.includes('/')) {
    const found = findInPath(command, searchPath);
    if (found === null) throw new LaunchError(`command not found in PATH: ${command}`);
    return found;
  }
  const file = path.resolve(directory, command);
  if (!isExecutable(file)) throw new LaunchError(`command not found or not executable: ${file}`);
  return file;
}

function findInPath(command: string, searchPath: string): string | null {
  for (const folder of searchPath.split(path.delimiter)) {
    const file = path.join(folder, command);
    if (folder !== '' && isExecutable(file)) return file;
  }
  return null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function passwdEntry(uid: number): { readonly home: string } | null {
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const [, , id, , , home] = line.split(':');
      if (id === String(uid) && home !== undefined) return { home };
    }
  } catch {
    // No such file: no such user.
  }
  return null;
}

function spawnProblem(child: WorkerProcess, command: string): Promise<LaunchError> {
  return new Promise((resolve) => {
    child.once('error', (cause) => resolve(new LaunchError(`${command} cannot be started`, { cause })));
  });
}
