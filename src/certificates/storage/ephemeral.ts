/**
 * Whether a folder ends with its container or with the next boot. A program that keeps certificates there orders new
 * ones at every start, until the CA gives no more for a week.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';

/** Why what is kept in `folder` will not be there after the next start; null when it will, or nothing tells. */
export function findEphemeral(folder: string, env: NodeJS.ProcessEnv): string | null {
  const mountinfo = readOr('/proc/self/mountinfo', '');
  return ephemeralReason(nearestReal(folder), mountinfo, {
    marks: ['/.dockerenv', '/run/.containerenv'].filter((file) => existsSync(file)),
    kubernetes: env['KUBERNETES_SERVICE_HOST'] !== undefined,
    cgroup: readOr('/proc/1/cgroup', ''),
  });
}

/** What tells that this is a container. */
export interface ContainerSigns {
  /** Files that engines put into theirs. */
  readonly marks: readonly string[];
  readonly kubernetes: boolean;
  /** Text of the first process's. */
  readonly cgroup: string;
}

/** System containers (LXC, nspawn) are machines: their root stays. */
export function isContainer({ marks, kubernetes, cgroup }: ContainerSigns): boolean {
  return marks.length > 0 || kubernetes || /docker|containerd|kubepods|libpod|crio/.test(cgroup);
}

/** `folder`: absolute and without symbolic links. `mountinfo`: as /proc/self/mountinfo has it. */
export function ephemeralReason(folder: string, mountinfo: string, signs: ContainerSigns): string | null {
  const mounts = parseMounts(mountinfo);
  const mount = mountOf(folder, mounts);
  if (mount === null) return null;
  const { point, type, root } = mount;
  if (MEMORY.has(type)) return `${folder} is in memory (${type} on ${point})`;
  if (root.includes('/kubernetes.io~empty-dir/')) {
    return `${folder} is an emptyDir volume (on ${point}), which ends with its pod; use a persistent volume`;
  }
  if (/\/volumes\/[0-9a-f]{64}(?:\/|$)/.test(root)) {
    return `${folder} is an anonymous volume (on ${point}), which the next container does not get; give the volume a name`;
  }
  if (isContainer(signs)) {
    // Whatever its storage driver: what no volume is mounted on is the container's own layer.
    if (point !== '/' && !LAYERED.has(type)) return null;
    return `${folder} is part of its container (${type} on ${point}) and ends with it; mount a volume there`;
  }
  // A live system: its changes are where the upper layer is.
  const upper = /(?:^|,)upperdir=([^,]+)/.exec(mount.options)?.[1];
  if (!LAYERED.has(type) || upper === undefined) return null;
  const beneath = mountOf(upper, mounts);
  return beneath !== null && MEMORY.has(beneath.type)
    ? `${folder} is kept in memory (${type} on ${point}, whose upper layer is ${beneath.type})`
    : null;
}

const MEMORY = new Set(['tmpfs', 'ramfs']);
const LAYERED = new Set(['overlay', 'aufs', 'fuse.fuse-overlayfs']);

interface Mount {
  /** The folder of its file system that is mounted. */
  readonly root: string;
  readonly point: string;
  readonly type: string;
  /** Of the file system. */
  readonly options: string;
}

/** proc_pid_mountinfo(5): optional fields end with a hyphen. */
function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ', 2);
    const [, , , root, point] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    if (root === undefined || point === undefined || type === undefined || type === '') return [];
    return [{ root: unescape(root), point: unescape(point), type, options: unescape(options) }];
  });
}

/** The longest mount point above it; of several on one, the last hides the others. */
function mountOf(folder: string, mounts: readonly Mount[]): Mount | null {
  let best: Mount | null = null;
  for (const mount of mounts) {
    const inside = mount.point === '/' || folder === mount.point || folder.startsWith(`${mount.point}/`);
    if (inside && (best === null || mount.point.length >= best.point.length)) best = mount;
  }
  return best;
}

/** The kernel writes space, tab, newline and backslash in octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Of a folder that is not there yet, where it would be. */
function nearestReal(folder: string): string {
  const absolute = path.resolve(folder);
  try {
    return realpathSync(absolute);
  } catch {
    const parent = path.dirname(absolute);
    return parent === absolute ? absolute : path.join(nearestReal(parent), path.basename(absolute));
  }
}

function readOr(file: string, fallback: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return fallback;
  }
}
