/** Which process has which connection, as Linux tells it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The clients' ports of the established connections to `port` that the process has accepted. */
export function clientPortsOf(pid: number, port: number): ReadonlySet<number> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // Closed meanwhile.
    }
  }
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const ports = new Set<number>();
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      // Columns: local and remote address, the state (01: established), and in the tenth the inode.
      const columns = line.trim().split(/\s+/);
      if (columns[1]?.endsWith(suffix) !== true || columns[3] !== '01' || !inodes.has(columns[9] ?? '')) continue;
      ports.add(Number.parseInt(columns[2]?.split(':')[1] ?? '', 16));
    }
  }
  return ports;
}
