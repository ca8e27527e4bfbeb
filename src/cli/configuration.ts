/** Finding and reading the file a verb works with. */
import { complain } from './terminal.ts';
import type { Config } from '../config/config.ts';
import { findAdminSocket, findConfigFile, formatProblem, loadConfig } from '../config/load.ts';
import type { Loaded } from '../config/load.ts';

/** The configuration, its warnings told; null (with every problem told) when there is none to work with. */
export function readConfiguration(option: string | undefined): Config | null {
  return readSource(option)?.config ?? null;
}

/** The same, with the document it was read from. */
export function readSource(option: string | undefined): Extract<Loaded, { ok: true }> | null {
  const found = findConfigFile({ option, env: process.env, cwd: process.cwd() });
  if (!found.ok) {
    complain(formatProblem(found.problem));
    return null;
  }
  const loaded = loadConfig({ file: found.file, env: process.env });
  if (!loaded.ok) {
    for (const problem of loaded.problems) complain(formatProblem(problem));
    return null;
  }
  for (const warning of loaded.warnings) complain(`warning: ${formatProblem(warning)}`);
  return loaded;
}

/**
 * Where the daemon listens: as asked, else as the file says, else the default place. A file with problems must not keep
 * an operator from the daemon that runs.
 */
export function findSocket(socket: string | undefined, option: string | undefined): string {
  if (socket !== undefined) return socket;
  const found = findConfigFile({ option, env: process.env, cwd: process.cwd() });
  return found.ok ? findAdminSocket({ file: found.file, env: process.env }) : '/run/proxy/admin.sock';
}
