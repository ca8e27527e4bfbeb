/** Finding and reading the file a verb works with. */
import path from 'node:path';
import { deploymentYaml } from './deployment.ts';
import type { Deployment } from './deployment.ts';
import { complain } from './terminal.ts';
import type { Config } from '../config/config.ts';
import { findAdminSocket, findConfigFile, formatProblem, loadConfig, parseConfig } from '../config/load.ts';
import type { Loaded } from '../config/load.ts';

/** A configuration, and how to read it again. */
export interface Readable {
  readonly config: Config;
  readonly reread: () => Loaded;
}

/** The configuration, its warnings told; null (with every problem told) when there is none to work with. */
export function readConfiguration(option: string | undefined): Readable | null {
  const config = readSource(option)?.config;
  return config === undefined ? null : { config, reread: () => loadConfig({ file: config.file, env: process.env }) };
}

/** The same of what the command line says. */
export function readWords(deployment: Deployment): Readable | null {
  const text = deploymentYaml(deployment);
  const reread = (): Loaded => parseConfig({ file: path.resolve('command line'), text, env: process.env });
  const loaded = told(reread());
  return loaded === null ? null : { config: loaded.config, reread };
}

/** The same, with the document it was read from. */
export function readSource(option: string | undefined): Extract<Loaded, { ok: true }> | null {
  const found = findConfigFile({ option, env: process.env, cwd: process.cwd() });
  if (!found.ok) {
    complain(formatProblem(found.problem));
    return null;
  }
  return told(loadConfig({ file: found.file, env: process.env }));
}

function told(loaded: Loaded): Extract<Loaded, { ok: true }> | null {
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
