/**
 * The listening sockets. The control plane owns them and accepts nothing itself: one SO_REUSEPORT socket per entrypoint
 * and proxy slot, so that connections spread evenly and none queued is lost while a slot's proxy is replaced.
 *
 * `net._createServerHandle` and the reuse-port flag are undocumented; they are used in this file alone and checked.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import net from 'node:net';
import { matchSocket } from './inherited.ts';
import type { InheritedSocket } from './inherited.ts';

/** libuv's UV_TCP_REUSEPORT. */
const REUSE_PORT = 2;

export interface ListenAddress {
  readonly name: string;
  /** null: all addresses, IPv6 and IPv4. */
  readonly host: string | null;
  readonly port: number;
}

export interface Listener {
  readonly name: string;
  readonly host: string | null;
  readonly port: number;
  /** One bound socket per proxy slot; an inherited one is shared by all, whatever that does to the balance among them. */
  readonly handles: readonly object[];
  close(): void;
}

export class ListenError extends Error {
  readonly code: string;
  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

interface ServerHandle {
  getsockname(out: { port?: number }): number;
  close(): void;
}

type CreateServerHandle = (host: string, port: number, type: 4 | 6, fd: -1, flags: number) => ServerHandle | number;

/** Binds an entrypoint's sockets, or throws a `ListenError` whose message an operator can act on. */
async function bindListener(address: ListenAddress, slots: number): Promise<Listener> {
  const create: unknown = Reflect.get(net, '_createServerHandle');
  if (typeof create !== 'function') throw new ListenError('this Node cannot bind sockets for its proxies', 'ENOSYS');
  const hosts = address.host === null ? ['::', '0.0.0.0'] : [address.host];
  let problem: unknown;
  for (const host of hosts) {
    try {
      await bindExclusively(host, address.port);
      return bindSlots(create as CreateServerHandle, { ...address, host }, slots);
    } catch (error) {
      problem = error;
      // Without IPv6 in the kernel the unspecified IPv4 address is all there is.
      if (codeOf(error) !== 'EAFNOSUPPORT' && codeOf(error) !== 'EADDRNOTAVAIL') break;
    }
  }
  throw await explainBindError(`entrypoint ${address.name}`, address, problem);
}

/** Binds all those that are not inherited, or none. */
export async function bindListeners(
  addresses: readonly ListenAddress[],
  slots: number,
  inherited: readonly InheritedSocket[] = [],
): Promise<readonly Listener[]> {
  const bound: Listener[] = [];
  try {
    for (const address of addresses) {
      const socket = matchSocket(inherited, address);
      bound.push(socket === null ? await bindListener(address, slots) : shared(address, socket, slots));
    }
    return bound;
  } catch (error) {
    for (const listener of bound) listener.close();
    throw error;
  }
}

/** The listeners of `next`: those open at the same address stay, the others are bound. Closes none. */
export async function rebindListeners(
  open: readonly Listener[],
  before: readonly (ListenAddress & { readonly tls: boolean })[],
  next: readonly (ListenAddress & { readonly tls: boolean })[],
  slots: number,
  inherited: readonly InheritedSocket[],
): Promise<readonly Listener[]> {
  const isKept = ({ name, host, port, tls }: (typeof next)[number]): boolean =>
    before.some((old) => old.name === name && old.host === host && old.port === port && old.tls === tls);
  const bound = await bindListeners(
    next.filter((address) => !isKept(address)),
    slots,
    inherited,
  );
  return next.flatMap((address) => (isKept(address) ? open : bound).find(({ name }) => name === address.name) ?? []);
}

/** It stays open when nothing listens any more: whoever opened it has it too, and it may be wanted again. */
function shared({ name }: ListenAddress, { host, port, handle }: InheritedSocket, slots: number): Listener {
  return { name, host, port, handles: Array.from({ length: slots }, () => handle), close: () => {} };
}

/** SO_REUSEPORT lets a second instance in silently; an ordinary bind first does not. */
async function bindExclusively(host: string, port: number): Promise<void> {
  const socket = new net.BoundSocket({ host, port });
  await socket.close();
}

function bindSlots(create: CreateServerHandle, address: ListenAddress & { host: string }, slots: number): Listener {
  const handles: ServerHandle[] = [];
  const close = (): void => handles.forEach((handle) => handle.close());
  let { port } = address;
  for (let slot = 0; slot < slots; slot++) {
    const handle = create(address.host, port, net.isIPv6(address.host) ? 6 : 4, -1, REUSE_PORT);
    if (typeof handle === 'number') {
      close();
      throw new ListenError(`bind failed with libuv error ${handle}`, handle === -13 ? 'EACCES' : 'EADDRINUSE');
    }
    handles.push(handle);
    // A port in use shows only here.
    const name: { port?: number } = {};
    const status = handle.getsockname(name);
    if (status !== 0 || name.port === undefined || name.port === 0) {
      close();
      throw new ListenError(`bind failed with libuv error ${status}`, 'EADDRINUSE');
    }
    // Port 0 asks for any free one; the other slots share it.
    port = name.port;
  }
  return { name: address.name, host: address.host, port, handles, close };
}

/** In words an operator can act on; `what` is what the address is for. */
export async function explainBindError(
  what: string,
  { host, port }: Pick<ListenAddress, 'host' | 'port'>,
  error: unknown,
): Promise<ListenError> {
  const where = `${what}: port ${port}${host === null ? '' : ` on ${host}`}`;
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    const holder = await findPortHolder(port);
    return new ListenError(`${where} is in use${holder === null ? '' : ` by ${holder}`}`, code);
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new ListenError(
      `${where} needs a privilege this process lacks: start it as root, give it CAP_NET_BIND_SERVICE, or use a port from 1024 on`,
      code,
    );
  }
  if (code === 'EADDRNOTAVAIL') return new ListenError(`${where} is not an address of this machine`, code);
  return new ListenError(`${where} cannot be bound: ${error instanceof Error ? error.message : String(error)}`, code);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'UNKNOWN';
}

/** Who listens on a TCP port, as `name (pid N)`; null where Linux's /proc does not tell. */
export async function findPortHolder(port: number): Promise<string | null> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '');
    for (const line of text.split('\n')) {
      const fields = line.trim().split(/\s+/);
      // Column 1 the local address, 3 the state (0A: LISTEN), 9 the inode.
      if (fields[1]?.endsWith(suffix) && fields[3] === '0A' && fields[9] !== undefined) inodes.add(fields[9]);
    }
  }
  if (inodes.size === 0) return null;
  const pids = (await readdir('/proc').catch(() => [])).filter((entry) => /^\d+$/.test(entry));
  for (const pid of pids) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?');
      return `${name.trim()} (pid ${pid})`;
    }
  }
  return null;
}
