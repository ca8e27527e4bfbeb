/** What a service's keys mean to each other, and the values that come of it. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { buildBalancing } from './balancing.ts';
import type { ServiceConfig } from './config.ts';
import type { Path, Problem, SourceDocument } from './document.ts';
import type { ServiceInput } from './schema.ts';
import { showCommand } from './secrets.ts';
import { buildUpstreams, readRoots } from './upstreams.ts';

/** sockaddr_un's path, without its NUL. */
const MAX_SOCKET_PATH = 107;
/** `<slot>.<generation>.sock`. */
const SOCKET_NAME_LENGTH = 20;
/** Load goes up and down within seconds. */
const MIN_DOWN_AFTER_MS = 10_000;
const PLACEHOLDERS = ['port', 'socket', 'fd', 'host', 'slot', 'gen'];
/** Of a step before the start: in logs, in `status`, and in what visitors are told. */
const STEP_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?$/;
/** Of a release, also as `proxy deploy` names it. */
export const RELEASE_NAME = /^[A-Za-z0-9][A-Za-z0-9 ._:+/@-]{0,127}$/;

interface ServiceContext {
  readonly base: string;
  readonly runtimeDirectory: string;
  readonly cpus: number;
}

export function buildService(
  document: SourceDocument,
  name: string,
  service: ServiceInput,
  { base, runtimeDirectory, cpus }: ServiceContext,
  problems: Problem[],
): ServiceConfig | null {
  const where: Path = ['services', name];
  const before = problems.length;
  const tell = (at: Path, message: string, part: 'key' | 'value' = 'value'): void =>
    void problems.push(document.problem([...where, ...at], message, part));

  if (service.command === undefined && service.upstreams.length === 0) {
    tell([], 'has neither "command" nor "upstreams"', 'key');
  }
  const upstreams = buildUpstreams(service, tell);
  const trustedRoots = readRoots(service, base, tell);
  const loadBalancing = buildBalancing(service, tell);
  for (const [, word = ''] of (service.command ?? []).join(' ').matchAll(/\{([a-z_]+)\}/g)) {
    if (PLACEHOLDERS.includes(word)) continue;
    tell(
      ['command'],
      `has the unknown placeholder {${word}}; known are {port}, {socket}, {fd}, {host}, {slot} and {gen}`,
    );
  }
  const folder = path.join(runtimeDirectory, 'services', name);
  const room = MAX_SOCKET_PATH - SOCKET_NAME_LENGTH;
  if (service.command !== undefined && Buffer.byteLength(folder) > room) {
    tell([], `its sockets' folder is too long for a socket's path (${room} bytes): ${folder}`, 'key');
  }
  const directory = path.resolve(base, service.directory);
  if (service.command !== undefined && !statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    tell(['directory'], `there is no directory ${directory}`);
  }
  const env: Record<string, string> = readEnvFiles(service.env_file, base, tell);
  for (const [key, value] of Object.entries(service.env)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) tell(['env', key], 'is not a name of a variable', 'key');
    env[key] = readSecret(value, base, () => tell(['env', key], 'the file it names cannot be read'));
  }
  const prestart = buildPrestart(service, document, where, tell);
  if (service.release !== undefined && !RELEASE_NAME.test(service.release)) {
    tell(['release'], 'must be up to 128 letters, digits, blanks and ._:+/@-');
  }
  if (typeof service.workers === 'object') {
    const { min, max, down_after: downAfterMs } = service.workers;
    if (max !== undefined && max < min) tell(['workers', 'max'], 'is less than "min"');
    if (downAfterMs < MIN_DOWN_AFTER_MS) tell(['workers', 'down_after'], 'must be at least 10s');
  }
  const { memory, health_check: health, timeouts } = service;
  if (memory.hard !== 0 && memory.soft > memory.hard) tell(['memory', 'soft'], 'is more than "hard"');
  if (service.command === undefined) tellUnlaunched(service, tell);
  if (problems.length > before) return null;
  return {
    name,
    command: service.command ?? null,
    shownCommand: showCommand(service.command ?? [], document, [...where, 'command']),
    upstreams,
    trustedRoots,
    serverName: service.tls.server_name ?? null,
    directory,
    env,
    identity: {
      user: service.user ?? null,
      group: service.group ?? null,
      groups: service.groups ?? null,
      umask: service.umask === undefined ? null : Number.parseInt(service.umask, 8),
      nice: service.nice ?? null,
      cpuAffinity: service.cpu_affinity ?? null,
      rlimits: buildLimits(service.rlimits),
    },
    release: service.release ?? null,
    prestart,
    ...buildSizing(service.workers, cpus),
    concurrency: service.concurrency,
    memory,
    maxRequests: service.max_requests,
    maxAgeMs: service.max_age,
    healthCheck: buildHealthCheck(health),
    loadBalancing,
    queue: { max: service.queue.max, timeoutMs: service.queue.timeout },
    timeouts: {
      startMs: timeouts.start,
      livenessMs: timeouts.liveness,
      drainMs: timeouts.drain,
      streamsMs: timeouts.streams,
      stopMs: timeouts.stop,
      connectMs: timeouts.connect,
      responseMs: timeouts.response,
      responseIdleMs: timeouts.response_idle,
      eventIdleMs: timeouts.event_idle,
      idleMs: timeouts.idle,
    },
  };
}

function buildSizing(workers: ServiceInput['workers'], cpus: number): Pick<ServiceConfig, 'workers' | 'sizing'> {
  if (workers === 'auto') return { workers: cpus, sizing: { type: 'auto' } };
  if (typeof workers === 'number') return { workers, sizing: { type: 'fixed' } };
  const { min, max = Math.max(min, cpus), down_after: downAfterMs } = workers;
  return { workers: min, sizing: { type: 'load', min, max, downAfterMs } };
}

/** `file:PATH` stands for the file's content, without a last line end. */
export function readSecret(value: string, base: string, unreadable: () => void): string {
  if (!value.startsWith('file:')) return value;
  try {
    return readFileSync(path.resolve(base, value.slice('file:'.length)), 'utf8').replace(/\r?\n$/, '');
  } catch {
    unreadable();
    return '';
  }
}

type Tell = (at: Path, message: string, part?: 'key' | 'value') => void;

function buildHealthCheck(health: ServiceInput['health_check']): ServiceConfig['healthCheck'] {
  // Of a process nothing is asked: these are for what else looks at a worker so often.
  if (health === 'process')
    return { type: 'process', path: null, intervalMs: 5_000, timeoutMs: 5_000, rise: 1, fall: 3 };
  return {
    type: 'http',
    path: health.path ?? null,
    intervalMs: health.interval,
    timeoutMs: health.timeout,
    rise: health.rise,
    fall: health.fall,
  };
}

function buildLimits(limits: ServiceInput['rlimits']): ServiceConfig['identity']['rlimits'] {
  return Object.fromEntries(
    Object.entries(limits).flatMap(([name, limit]) =>
      limit === undefined ? [] : [[name, limit === 'unlimited' ? null : limit] as const],
    ),
  );
}

function buildPrestart(
  { prestart }: ServiceInput,
  document: SourceDocument,
  where: Path,
  tell: Tell,
): ServiceConfig['prestart'] {
  const names = new Set<string>();
  return prestart.map(({ name = `step ${names.size + 1}`, command, timeout }, i) => {
    const at: Path = ['prestart', i];
    if (!STEP_NAME.test(name)) tell([...at, 'name'], 'must be up to 64 letters, digits, blanks and ._-');
    if (names.has(name)) tell([...at, 'name'], 'is the name of another step too');
    names.add(name);
    const placeholder = PLACEHOLDERS.map((word) => `{${word}}`).find((word) => command.join(' ').includes(word));
    if (placeholder !== undefined) tell([...at, 'command'], `has ${placeholder}, which only workers have`);
    const shownCommand = showCommand(command, document, [...where, ...at, 'command']);
    return { name, command, shownCommand, timeoutMs: timeout };
  });
}

/** What only makes sense for workers of ours. */
function tellUnlaunched(service: ServiceInput, tell: Tell): void {
  for (const key of ['prestart', 'release'] as const) {
    const isGiven = key === 'release' ? service.release !== undefined : service.prestart.length > 0;
    if (isGiven) tell([key], 'is for workers that a "command" starts', 'key');
  }
  if (service.health_check === 'process') tell(['health_check'], 'is for workers that a "command" starts');
}

/** Lines of `NAME=VALUE`, as `docker run --env-file` takes them, and quotes around a value as systemd does. */
function readEnvFiles(files: string | readonly string[], base: string, tell: Tell): Record<string, string> {
  const env: Record<string, string> = {};
  const list = typeof files === 'string' ? [files] : files;
  list.forEach((file, i) => {
    const at: Path = typeof files === 'string' ? ['env_file'] : ['env_file', i];
    let text: string;
    try {
      text = readFileSync(path.resolve(base, file), 'utf8');
    } catch {
      return tell(at, 'cannot be read');
    }
    for (const [number, line] of text.split(/\r?\n/).entries()) {
      if (/^\s*(?:#|$)/.test(line)) continue;
      const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
      // The line itself may hold a secret.
      if (match === null) tell(at, `line ${number + 1} is not NAME=VALUE`);
      else env[match[1] ?? ''] = (match[2] ?? '').trim().replace(/^(["'])(.*)\1$/, '$2');
    }
  });
  return env;
}
