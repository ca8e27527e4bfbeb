/** Which user runs what. Only root can choose; anyone else runs everything as who they are. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ServiceConfig } from '../config/config.ts';
import type { Identity } from '../snapshot.ts';
import type { WorkerIdentity } from '../workers/exec_chain.ts';

export class IdentityError extends Error {}

/** A user of /etc/passwd by name, or a numeric `uid` or `uid:gid`. */
export function findUser(user: string, group: string | null = null): Identity {
  const numeric = /^(\d+)(?::(\d+))?$/.exec(user);
  const identity =
    numeric === null
      ? findPasswd('name', user)
      : { uid: Number(numeric[1]), gid: Number(numeric[2] ?? numeric[1]), name: user };
  if (identity === null) throw new IdentityError(`there is no user "${user}" on this machine`);
  return group === null ? identity : { ...identity, gid: findGroup(group) };
}

function findPasswd(by: 'name' | 'uid', wanted: string): Identity | null {
  for (const line of lines('/etc/passwd')) {
    const [name = '', , uid, gid] = line.split(':');
    if ((by === 'name' ? name : uid) === wanted) return { uid: Number(uid), gid: Number(gid), name };
  }
  return null;
}

export function findGroup(group: string): number {
  if (/^\d+$/.test(group)) return Number(group);
  for (const line of lines('/etc/group')) {
    const [name, , gid] = line.split(':');
    if (name === group) return Number(gid);
  }
  throw new IdentityError(`there is no group "${group}" on this machine`);
}

/** Those of /etc/group that name a user as a member. */
function groupsOf(user: string): number[] {
  return lines('/etc/group').flatMap((line) => {
    const [, , gid, members = ''] = line.split(':');
    return members.split(',').includes(user) ? [Number(gid)] : [];
  });
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

export interface Chosen<T> {
  /** null: who we are. */
  readonly identity: T;
  /** What an operator should know about this choice. */
  readonly warning: string | null;
}

/**
 * The proxies' identity once they have what they need: the configured one, else `proxy` where the machine has such a user,
 * so that they share nothing with what runs as nobody, else nobody. A runtime directory others cannot reach leaves them
 * root, with a warning: they could not connect to the workers' sockets in it.
 */
export function proxyIdentity(
  user: string | null,
  group: string | null,
  runtimeDirectory: string,
): Chosen<Identity | null> {
  if (process.getuid?.() !== 0 || user === 'root') return { identity: null, warning: null };
  const identity = findUser(user ?? (findPasswd('name', 'proxy') === null ? 'nobody' : 'proxy'), group);
  if (user !== null || othersMayPass(path.dirname(runtimeDirectory))) return { identity, warning: null };
  const warning = `proxies run as root: ${runtimeDirectory} is in a folder closed to other users; set "user" or open it`;
  return { identity: null, warning };
}

/** What is not the workers'. */
export interface Ours {
  /** null: they are who we are. */
  readonly proxies: Identity | null;
  readonly stateDirectory: string;
}

/**
 * Who a service's workers are: the user it names, else the owner of its directory, else (when that is root) nobody, as
 * Passenger does. A directory nobody may enter leaves root. The warning says what keeps them from being strangers to us.
 */
export function workerIdentity(
  { identity: named, directory }: Pick<ServiceConfig, 'identity' | 'directory'>,
  executable: string,
  ours: Ours,
): Chosen<WorkerIdentity | null> {
  if (process.getuid?.() !== 0) {
    return { identity: null, warning: `they run as who we are, which is not root: ${REACH}` };
  }
  const user = named.user ?? ownerOf(directory);
  const others = named.group !== null || named.groups !== null;
  if (user === null && !others) {
    const closed = [directory, executable].find((target) => path.isAbsolute(target) && !othersMayEnter(target));
    if (closed !== undefined) {
      return { identity: null, warning: `they run as root: ${closed} is closed to other users; set "user" or open it` };
    }
  }
  if (user === 'root' && !others) return { identity: null, warning: `they run as root: ${REACH}` };
  const groups = named.groups?.map(findGroup) ?? null;
  const identity = { ...findUser(user ?? 'nobody', named.group), groups };
  return { identity, warning: exposure(identity, ours) };
}

const REACH = 'they can read the keys, use the admin socket and reach the workers of all services';

function exposure({ uid, gid, groups, name }: WorkerIdentity, { proxies, stateDirectory }: Ours): string | null {
  if (uid === 0) return `they run as root: ${REACH}`;
  if (statSync(stateDirectory, { throwIfNoEntry: false })?.uid === uid) {
    return `they run as ${name}, who owns ${stateDirectory}: they can read the keys`;
  }
  if (proxies?.uid === uid) return `they run as ${name}, as the proxies do: they can disturb them; set "user"`;
  if (proxies !== null && [gid, ...(groups ?? groupsOf(name))].includes(proxies.gid)) {
    return "they are in the proxies' group: they can connect to the workers of all services";
  }
  return null;
}

/** null: it is root's. */
function ownerOf(directory: string): string | null {
  const { uid, gid } = statSync(directory);
  if (uid === 0) return null;
  return findPasswd('uid', String(uid))?.name ?? `${uid}:${gid}`;
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
