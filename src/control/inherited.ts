/**
 * Listening sockets somebody opened for us, as systemd hands them over (sd_listen_fds(3)): they stay open while we are
 * away, so that connections made meanwhile wait instead of being refused.
 */
import net from 'node:net';

/** The first that is handed over; the others follow. */
const FIRST_FD = 3;

/** A socket's handle, which is sent to proxies as it is. */
export interface SocketHandle {
  getsockname(out: { address?: string; port?: number }): number;
}

export interface InheritedSocket {
  /** As LISTEN_FDNAMES says; several may have the same. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly handle: SocketHandle;
}

export interface Handover {
  readonly count: number;
  readonly names: readonly string[];
}

/** null: nothing is handed over to this process. */
export function readHandover(env: Readonly<Record<string, string | undefined>>, pid: number): Handover | null {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env;
  // Whoever started us may have been started so, and have left its own environment.
  if (LISTEN_PID !== String(pid) || LISTEN_FDS === undefined || !/^[1-9]\d{0,2}$/.test(LISTEN_FDS)) return null;
  return { count: Number(LISTEN_FDS), names: LISTEN_FDNAMES.split(':') };
}

/** Those that are TCP sockets. Node has kept all of them from being inherited further. */
export function inheritSockets(env: Readonly<Record<string, string | undefined>>): readonly InheritedSocket[] {
  const handover = readHandover(env, process.pid);
  const create: unknown = Reflect.get(net, '_createServerHandle');
  if (handover === null || typeof create !== 'function') return [];
  return Array.from({ length: handover.count }, (_, i) => i).flatMap((i) => {
    const handle: unknown = create(null, null, null, FIRST_FD + i);
    if (!isHandle(handle)) return [];
    const at: { address?: string; port?: number } = {};
    if (handle.getsockname(at) !== 0 || at.address === undefined || at.port === undefined) return [];
    return { name: handover.names[i] ?? '', host: at.address, port: at.port, handle };
  });
}

/**
 * The socket for an entrypoint: the one that has its name, else the one at its address. What has its name but another port
 * is neither: a mistake in one of two files.
 */
export function matchSocket(
  sockets: readonly InheritedSocket[],
  { name, host, port }: { readonly name: string; readonly host: string | null; readonly port: number },
): InheritedSocket | null {
  const there = sockets.filter((socket) => socket.port === port);
  const sameHost = (socket: InheritedSocket): boolean =>
    host === null ? socket.host === '::' || socket.host === '0.0.0.0' : socket.host === host;
  return there.find((socket) => socket.name === name) ?? there.find(sameHost) ?? null;
}

function isHandle(value: unknown): value is SocketHandle {
  return (
    typeof value === 'object' && value !== null && 'getsockname' in value && typeof value.getsockname === 'function'
  );
}
