/** A network of its own for a program: what the machine's others send and hold is not in it, nor what it does in theirs. */
import { spawnSync } from 'node:child_process';

/**
 * By default the kernel takes up to 4 MiB for each client that does not read, and on loopback at once; for thousands of
 * them that is more than it has for all of TCP. With less, what shows is what the proxy itself holds.
 */
const SETUP = 'ip link set lo up && echo "4096 16384 262144" > /proc/sys/net/ipv4/tcp_wmem && exec "$@"';
const MARK = 'OWN_NETWORK';

export function isOwnNetwork(): boolean {
  return process.env[MARK] !== undefined;
}

/** Runs this very program again in a network of its own; null where that is not possible, else its exit code. */
export function repeatInOwnNetwork(): number | null {
  const unshare = (...args: readonly string[]): number | null =>
    spawnSync('unshare', ['--net', 'sh', '-c', SETUP, 'sh', ...args], {
      stdio: 'inherit',
      env: { ...process.env, [MARK]: '1' },
    }).status;
  if (unshare('true') !== 0) return null;
  return unshare(process.execPath, ...process.execArgv, ...process.argv.slice(1)) ?? 1;
}
