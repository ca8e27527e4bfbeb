/**
 * From the command an operator wrote to the one that is run. Servers that are known are told where to listen when the
 * command does not say it; whatever it does say stays, and is read. Values come later: what is added are placeholders.
 */
import type { ServiceConfig } from '../config/config.ts';
import type { Address } from '../snapshot.ts';
import { findProgram } from './programs.ts';
import type { Program } from './programs.ts';

/** Where a worker listens: at what we give it, or at what its command says itself. */
export type Listening =
  | { readonly on: 'socket' }
  | { readonly on: 'port' }
  /** At a socket it inherits. */
  | { readonly on: 'fd' }
  /** The same for every worker of the service. */
  | { readonly on: 'fixed'; readonly address: Address };

export interface CommandPlan {
  /** With placeholders. */
  readonly command: readonly string[];
  /** The same as it may be shown. */
  readonly shown: readonly string[];
  readonly listening: Listening;
  /** For the server, below what the service's own `env` says. */
  readonly env: Readonly<Record<string, string>>;
  /** What an operator should know, once. */
  readonly warnings: readonly string[];
}

export type PlannedService = Pick<ServiceConfig, 'shownCommand' | 'env' | 'timeouts' | 'healthCheck'> & {
  readonly command: readonly string[];
};

interface Preset {
  /** Subcommands that serve; null: it has none. */
  readonly subcommands: readonly string[] | null;
  readonly add: readonly string[];
  /** Flags by which the command itself says where to listen. */
  readonly bind: readonly string[];
  readonly port: readonly string[];
  readonly host: readonly string[];
  readonly uds: readonly string[];
  /** A descriptor's number. */
  readonly fd: readonly string[];
  /** Where it listens when only its host is told, or only its port. */
  readonly defaultPort: number;
  readonly workers: readonly string[];
}

const NOTHING = { subcommands: null, bind: [], port: [], host: [], uds: [], fd: [], workers: [] };

/** Of servers with a choice the socket is taken: it cannot be stolen, and its folder says who may connect. */
const PRESETS: Readonly<Record<string, Preset>> = {
  uvicorn: {
    ...NOTHING,
    add: ['--uds', '{socket}'],
    port: ['--port'],
    host: ['--host'],
    uds: ['--uds'],
    fd: ['--fd'],
    defaultPort: 8000,
    workers: ['--workers'],
  },
  fastapi: {
    ...NOTHING,
    subcommands: ['run', 'dev'],
    // It has no flag for a socket, and listens to the whole network unless told.
    add: ['--host', '{host}', '--port', '{port}'],
    port: ['--port'],
    host: ['--host'],
    defaultPort: 8000,
    workers: ['--workers'],
  },
  gunicorn: {
    ...NOTHING,
    add: ['-b', 'unix:{socket}'],
    bind: ['-b', '--bind'],
    defaultPort: 8000,
    workers: ['-w', '--workers'],
  },
  hypercorn: {
    ...NOTHING,
    add: ['-b', 'unix:{socket}'],
    bind: ['-b', '--bind'],
    defaultPort: 8000,
    workers: ['-w', '--workers'],
  },
  granian: {
    ...NOTHING,
    add: ['--uds', '{socket}'],
    port: ['--port'],
    host: ['--host'],
    uds: ['--uds'],
    defaultPort: 8000,
    workers: ['--workers'],
  },
  puma: {
    ...NOTHING,
    add: ['-b', 'unix://{socket}'],
    bind: ['-b', '--bind'],
    port: ['-p', '--port'],
    defaultPort: 9292,
    workers: ['-w', '--workers'],
  },
  rails: {
    ...NOTHING,
    subcommands: ['server', 's'],
    add: ['-b', '{host}', '-p', '{port}'],
    port: ['-p', '--port'],
    host: ['-b', '--binding'],
    defaultPort: 3000,
  },
  // Servers of Node go by PORT, which they get anyway.
  node: { ...NOTHING, add: [], defaultPort: 0 },
};

export function planCommand(service: PlannedService): CommandPlan {
  const { command, shownCommand, env } = service;
  const program = findProgram(command);
  const preset = program === null ? undefined : PRESETS[program.name];
  if (program === null || preset === undefined || !serves(preset, program, command)) {
    return { command, shown: shownCommand, listening: asWritten(command, env), env: {}, warnings: [] };
  }
  const args = command.slice(program.index + 1);
  const warnings = nestedWarnings(program, preset, args, env);
  const done = (listening: Listening): CommandPlan => ({
    command,
    shown: shownCommand,
    listening,
    env: program.name === 'uvicorn' ? uvicornEnvironment(service) : {},
    warnings,
  });
  const inherits = program.name === 'gunicorn' ? fdWords(preset, args) : null;
  if (inherits !== null) {
    const without = (words: readonly string[]): readonly string[] =>
      words.toSpliced(program.index + 1 + inherits.at, inherits.count);
    return { ...done({ on: 'fd' }), command: without(command), shown: without(shownCommand) };
  }
  if (service.healthCheck.type === 'process' || hasAddressPlaceholder(command, env)) {
    return done(asWritten(command, env));
  }
  const told = toldAddress(preset, args);
  if (told === 'unreadable') {
    warnings.push(
      `${program.name} is told where to listen in a way that cannot be used here: write {socket}, {port} or {fd}`,
    );
    return done({ on: 'port' });
  }
  if (told !== null) {
    warnings.push(
      `${program.name} is told to listen at one address: a second worker, or one that takes the place of another, cannot; write {socket}, {port} or {fd} there`,
    );
    return done({ on: 'fixed', address: told });
  }
  // The server's flags end where `--` is; one before it belongs to whatever runs it.
  const end = command.indexOf('--', program.index);
  const at = end === -1 ? command.length : end;
  const words = command.toSpliced(at, 0, ...preset.add);
  return {
    ...done(asWritten(words, env)),
    command: words,
    shown: shownCommand.toSpliced(at, 0, ...preset.add),
  };
}

function serves(preset: Preset, { index }: Program, command: readonly string[]): boolean {
  return preset.subcommands === null || preset.subcommands.includes(command[index + 1] ?? '');
}

const ADDRESS_PLACEHOLDER = /\{(?:socket|port|fd)\}/;

function hasAddressPlaceholder(command: readonly string[], env: Readonly<Record<string, string>>): boolean {
  return [...command, ...Object.values(env)].some((word) => ADDRESS_PLACEHOLDER.test(word));
}

function asWritten(command: readonly string[], env: Readonly<Record<string, string>>): Listening {
  const has = (placeholder: string): boolean =>
    [...command, ...Object.values(env)].some((word) => word.includes(placeholder));
  return { on: has('{fd}') ? 'fd' : has('{socket}') ? 'socket' : 'port' };
}

/** The address in its flags; null: none. */
function toldAddress(preset: Preset, args: readonly string[]): Address | 'unreadable' | null {
  if (flagValue(args, preset.fd) !== null) return 'unreadable';
  const uds = flagValue(args, preset.uds);
  if (uds !== null) return uds.startsWith('/') ? { path: uds } : 'unreadable';
  const bind = flagValue(args, preset.bind);
  if (bind !== null) return parseBind(bind, preset.defaultPort) ?? 'unreadable';
  const port = flagValue(args, preset.port);
  const host = flagValue(args, preset.host);
  // Its host alone would leave its usual port, which two workers cannot share.
  if (port === null) return host === null ? null : { host: reachable(host), port: preset.defaultPort };
  const number = Number(port);
  return Number.isInteger(number) && number > 0 ? { host: reachable(host ?? ''), port: number } : 'unreadable';
}

/**
 * Where `-b fd://{fd}` stands. gunicorn finds a socket that is announced as systemd does by itself; told of it as well it
 * takes it twice, and fails, and told of it alone it deletes its path when it ends.
 */
function fdWords(preset: Preset, args: readonly string[]): { readonly at: number; readonly count: 1 | 2 } | null {
  for (const [at, arg] of args.entries()) {
    if (!arg.endsWith('fd://{fd}')) continue;
    const flag = arg.slice(0, -'fd://{fd}'.length).replace(/=$/, '');
    if (preset.bind.includes(flag)) return { at, count: 1 };
    if (flag === '' && preset.bind.includes(args[at - 1] ?? '')) return { at: at - 1, count: 2 };
  }
  return null;
}

/** `host:port`, `:port`, `[::1]:port`, `host`, `unix:/path`, `unix:///path`, `tcp://host:port`; null: none of these. */
function parseBind(bind: string, defaultPort: number): Address | null {
  const unix = /^unix:(?:\/\/)?(\/.+)$/.exec(bind);
  if (unix !== null) return { path: unix[1] ?? '' };
  const tcp = /^(?:tcp:\/\/)?(\[[^\]]+\]|[^:/[\]]*)(?::(\d+))?$/.exec(bind);
  if (tcp === null) return null;
  const port = tcp[2] === undefined ? defaultPort : Number(tcp[2]);
  return port === 0 ? null : { host: reachable((tcp[1] ?? '').replace(/^\[|\]$/g, '')), port };
}

/** Who listens everywhere is found on loopback. */
function reachable(host: string): string {
  return ['', '0.0.0.0', '::', '{host}'].includes(host) ? '127.0.0.1' : host;
}

/** `--flag value`, `--flag=value`, `-f value`, `-fvalue`: the last one counts; null: it is not there. */
function flagValue(args: readonly string[], flags: readonly string[]): string | null {
  let value: string | null = null;
  for (const [i, arg] of args.entries()) {
    if (arg === '--') break;
    for (const flag of flags) {
      if (arg === flag) value = args[i + 1] ?? '';
      else if (arg.startsWith(`${flag}=`)) value = arg.slice(flag.length + 1);
      else if (!flag.startsWith('--') && arg.startsWith(flag) && !arg.startsWith('--')) value = arg.slice(flag.length);
    }
  }
  return value;
}

/** Processes inside a worker are nobody's: their memory is not seen, they outlive it, and their address is one. */
function nestedWarnings(
  { name, index }: Program,
  preset: Preset,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): string[] {
  const warnings: string[] = [];
  const workers = flagValue(args, preset.workers);
  if (workers !== null && workers !== '1') {
    warnings.push(`${name} is told to start ${workers} processes inside each worker: use "workers" of the service`);
  }
  const inherited = env['WEB_CONCURRENCY'];
  if (inherited !== undefined && inherited !== '1' && index >= 0 && name !== 'node') {
    warnings.push(`WEB_CONCURRENCY=${inherited} makes ${name} start processes inside each worker: use "workers"`);
  }
  const reloads =
    args.includes('--reload') || (name === 'fastapi' && args[0] === 'dev' && !args.includes('--no-reload'));
  if (reloads) warnings.push(`${name} watches its files and starts processes by itself: leave out --reload`);
  return warnings;
}

/**
 * Without it uvicorn waits for ever for open connections. Told by its environment, because versions that lack the flag
 * end at it; less than we wait until KILL, so that the application's own shutdown still runs.
 */
function uvicornEnvironment({ timeouts }: PlannedService): Record<string, string> {
  const seconds = Math.min(Math.ceil(timeouts.drainMs / 1000), Math.floor(timeouts.stopMs / 1000) - 1);
  return { UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN: String(Math.max(1, seconds)) };
}
