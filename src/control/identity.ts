/** Which user runs what. Only root can choose; anyone else runs everything as who they are. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Identity } from '../snapshot.ts';

export class IdentityError extends Error {}

/** A user of /etc/passwd by name, or a numeric `uid` or `uid:gid`. */
export function findUser(user: string, group: string | null = null): Identity {
  const numeric = /^(\d+)(?::(\d+))?$/.exec(user);
  let identity: Identity | undefined;
  if (numeric !== null) {
    const uid = Number(numeric[1]);
    identity = { uid, gid: Number(numeric[2] ?? numeric[1]), name: user };
  } else {
    for (const line of lines('/etc/passwd')) {
      const [name, , uid, gid] = line.split(':');
      if (name === user) identity = { uid: Number(uid), gid: Number(gid), name: user };
    }
  }
  if (identity === undefined) throw new IdentityError(`there is no user "${user}" on this machine`);
  return group === null ? identity : { ...identity, gid: findGroup(group) };
}

export function findGroup(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of lines('/etc/group')) {
    const [name, , gid] = line.split(':');
    if (name === group) return Number(gid);
  }
  throw new IdentityError(`there is no group "${group}" on this machine`);
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

export interface ChosenIdentity {
  /** null: who we are. */
  readonly identity: Identity | null;
  /** What an operator should know about this choice. */
  readonly warning: string | null;
}

/**
 * The proxies' identity once they have what they need: the configured one, else nobody. A runtime directory nobody can
 * reach leaves them root, with a warning: they could not connect to the workers' sockets in it.
 */
export function proxyIdentity(user: string | null, group: string | null, runtimeDirectory: string): ChosenIdentity {
  if (process.getuid?.() !== 0) return { identity: null, warning: null };
  if (user === 'root') return { identity: null, warning: null };
  const identity = findUser(user ?? 'nobody', group);
  if (user !== null || othersMayPass(path.dirname(runtimeDirectory))) return { identity, warning: null };
  const warning = `proxies run as root: ${runtimeDirectory} is in a folder closed to other users; set "user" or open it`;
  return { identity: null, warning };
}

/**
 * A service's user: the one it names, else the owner of its directory, else (when that is root) nobody, as Passenger does.
 * A directory nobody may enter leaves root, with a warning.
 */
export function workerIdentity(user: string | null, directory: string, executable: string): ChosenIdentity {
  if (process.getuid?.() !== 0) return { identity: null, warning: null };
  if (user === 'root') return { identity: null, warning: null };
  if (user !== null) return { identity: findUser(user), warning: null };
  const { uid, gid } = statSync(directory);
  if (uid !== 0) return { identity: { uid, gid, name: String(uid) }, warning: null };
  const nobody = findUser('nobody');
  const closed = [directory, executable].find((target) => path.isAbsolute(target) && !othersMayEnter(target));
  if (closed === undefined) return { identity: nobody, warning: null };
  return { identity: null, warning: `runs as root: ${closed} is closed to other users; set "user" or open it` };
}

/** Whether users without any rights of their own can read a path and pass every folder above it. */
function othersMayEnter(target: string): boolean {
  try {
    return (statSync(target).mode & 0o005) === 0o005 && othersMayPass(path.dirname(target));
  } catch {
    return false;
  }
}

function othersMayPass(folder: string): boolean {
  try {
    for (let at = folder; ; at = path.dirname(at)) {
      if ((statSync(at).mode & 0o001) === 0) return false;
      if (at === path.dirname(at)) return true;
    }
  } catch {
    return false;
  }
}
