/** The environment of a worker: a small inherited set, what it needs to know of us, and the service's own on top. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Address, Identity } from '../snapshot.ts';
import type { ServiceConfig } from '../config/config.ts';

/**
 * Names of the small set a worker inherits; everything else it gets from `env`. What would make a server into several,
 * or tell it where to listen (WEB_CONCURRENCY, UVICORN_*, GUNICORN_CMD_ARGS), is not among them.
 */
const INHERITED = /^(?:PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|SSL_CERT_(?:FILE|DIR)|VIRTUAL_ENV)$/;

export interface EnvironmentOptions {
  readonly service: Pick<ServiceConfig, 'name' | 'env'>;
  readonly slot: number;
  readonly identity: Identity | null;
  /** Where it is to listen; null: it is not. */
  readonly address: Address | null;
  /** For the server it is, below the service's own. */
  readonly preset: Readonly<Record<string, string>>;
}

export function workerEnvironment(
  { service, slot, identity, address, preset }: EnvironmentOptions,
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
  const port = address !== null && 'port' in address ? address : null;
  if (port !== null) {
    env['PORT'] = String(port.port);
    env['HOST'] = port.host;
  }
  env['PROXY_WORKER'] = `${service.name}/${slot}`;
  // uvicorn and gunicorn believe X-Forwarded-* only from here; a socket has no address, its permissions are the guard.
  env['FORWARDED_ALLOW_IPS'] = port?.host ?? '*';
  // Without these a worker's last words stay in its buffer, and SIGABRT ends it without a word about where it was.
  env['PYTHONUNBUFFERED'] = '1';
  env['PYTHONFAULTHANDLER'] = '1';
  return { ...env, ...preset, ...service.env };
}

export function passwdEntry(uid: number): { readonly home: string } | null {
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
